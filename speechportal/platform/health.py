"""Health endpoints: ``/healthz`` (alive), ``/readyz`` (can serve) and ``/metrics`` (for Prometheus).

They run before any other middleware, since probes use plain HTTP with an IP address as host name, and must
not be redirected or get a session.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from speechportal.platform.database_errors import read_only

logger = logging.getLogger(__name__)
_migrated = False


class HealthMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.pages: dict[str, Callable[[HttpRequest], HttpResponse]] = {
            "/healthz": healthz,
            "/readyz": readyz,
            "/metrics": metrics,
        }

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        page = self.pages.get(request.path_info)
        if page is None or request.method not in {"GET", "HEAD"}:
            return self.get_response(request)
        response = page(request)
        response["Cache-Control"] = "no-store"
        return response


def healthz(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> HttpResponse:
    """Readiness: 200 or 503 with the name of the problem, and no details since the URL is public.

    It is that of this web process, or of the role in ``?role=``, for that role's probes. ``warnings`` do not
    make it unready.
    """
    problem = _database_problem()
    roles: dict[str, str] = {} if problem else import_string(settings.READINESS_ROLES)()
    role = request.GET.get("role", "")
    if role in roles:
        problem = roles[role]
    elif role and not problem:
        problem = "unknown_role"
    else:
        problem = problem or _other_problem()
    answer: dict[str, object] = {"ready": not problem, "problem": problem}
    if roles:
        answer["roles"] = {name: {"ready": not found, "problem": found} for name, found in roles.items()}
    if not problem and (warnings := _warnings()):
        answer["warnings"] = warnings
    return JsonResponse(answer, status=503 if problem else 200)


def _warnings() -> list[str]:
    """Warnings of the callables in settings.READINESS_WARNINGS."""
    return [warning for path in settings.READINESS_WARNINGS if (warning := import_string(path)())]


def _database_problem() -> str:
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if read_only():
            return "database_read_only"
        if not _migrated:
            executor = MigrationExecutor(connection)
            _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        logger.exception("not ready: the database is not available")
        return "database"
    return "" if _migrated else "migrations"


def _other_problem() -> str:
    """First problem that a callable in settings.READINESS returns; an empty string if there is none."""
    return next((problem for path in settings.READINESS if (problem := import_string(path)())), "")


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus metrics: with the token ``METRICS_TOKEN``, or from this machine if there is no token."""
    from prometheus_client import CONTENT_TYPE_LATEST

    from speechportal.platform.metrics import text

    if not _may_read(request):
        return HttpResponse("", status=404)
    return HttpResponse(text(), content_type=CONTENT_TYPE_LATEST)


def _may_read(request: HttpRequest) -> bool:
    if token := settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        return hmac.compare_digest(given.encode(), token.encode())
    # Forwarded by a proxy on this machine: the client is elsewhere.
    if request.headers.get("X-Forwarded-For") or request.headers.get("Forwarded"):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
