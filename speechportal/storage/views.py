"""Pages of connections."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Q
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from speechportal.accounts.access import (
    VIEWER_REFUSED,
    active_account_required,
    manager_required,
    member_required,
)
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked
from speechportal.platform.forms import submit
from speechportal.storage import browsing, notification_links, services
from speechportal.storage.errors import StorageBusy, StorageError
from speechportal.storage.forms import ConnectionForm
from speechportal.storage.models import Connection


def _one(request: PortalRequest, uid: str) -> Connection:
    return get_object_or_404(Connection.objects.for_account(request.account), uid=uid)


@member_required
def connection_list(request: PortalRequest) -> HttpResponse:
    used = Count("batches", filter=Q(batches__deleted_at=None))
    connections = Connection.objects.for_account(request.account).annotate(batch_count=used)
    return render(request, "connections/list.html", {"connections": connections})


@manager_required
def connection_create(request: PortalRequest) -> HttpResponse:
    form = ConnectionForm(request.POST or None, account=request.account)
    made = submit(form, lambda: services.create_connection(account=request.account, **form.cleaned_data))
    if made is not None:
        messages.success(request, _("The connection “%s” was created.") % made.name)
        return _checked(request, made)
    return render(request, "connections/form.html", {"form": form})


@manager_required
def connection_edit(request: PortalRequest, uid: str) -> HttpResponse:
    with account_locked(request.account):
        connection = _one(request, uid)
        form = ConnectionForm(request.POST or None, instance=connection, account=request.account)
        saved = submit(form, lambda: services.update_connection(connection=connection, **form.cleaned_data))
    if saved is not None:
        messages.success(request, _("The connection “%s” was saved.") % connection.name)
        return _checked(request, connection)
    present = _one(request, uid)
    batches = present.batches.filter(deleted_at=None).order_by("name")
    address = notification_links.address(present)
    context = {"form": form, "connection": present, "batches": batches, "notification_url": address}
    return render(request, "connections/form.html", context)


def _checked(request: PortalRequest, connection: Connection) -> HttpResponse:
    """Test the connection after a change, and redirect to the result."""
    services.check_connection(connection=connection)
    return redirect("connections:check", connection.uid)


@member_required
def connection_check(request: PortalRequest, uid: str) -> HttpResponse:
    """Result of the latest check; POST checks again."""
    connection = _one(request, uid)
    findings = None
    if request.method == "POST":
        if not request.membership.can_change:  # It writes a small file.
            raise PermissionDenied(VIEWER_REFUSED)
        findings = services.check_connection(connection=connection)
    return render(request, "connections/check.html", {"connection": connection, "findings": findings})


@manager_required
def connection_delete(request: PortalRequest, uid: str) -> HttpResponse:
    connection = _one(request, uid)
    refusal = ""
    if request.method == "POST":
        try:
            services.delete_connection(connection=connection)
        except ValidationError as error:
            refusal = error.messages[0]
        else:
            messages.success(request, _("The connection “%s” was deleted.") % connection.name)
            return redirect("connections:list")
    batches = connection.batches.filter(deleted_at=None).order_by("name")
    context = {"connection": connection, "batches": batches, "refusal": refusal}
    return render(request, "connections/delete.html", context)


@manager_required
def browse(request: PortalRequest, uid: str) -> HttpResponse:
    """Fragment of the folder browser: the folders of one level, with links to other levels."""
    active_account_required(request)
    return _level(request, _one(request, uid), request.GET.get("path", ""), "")


@require_POST
@manager_required
def create_folder(request: PortalRequest, uid: str) -> HttpResponse:
    """Create a folder in the current level, and show it."""
    connection = _one(request, uid)
    above = request.POST.get("path", "")
    try:
        made = browsing.create_folder(connection, above, request.POST.get("name", ""))
    except StorageBusy as error:
        return _busy(error)
    except (StorageError, ValidationError) as error:
        refusal = error.messages[0] if isinstance(error, ValidationError) else str(error)
        return _level(request, connection, above, refusal)
    return _level(request, connection, made, "")


def _level(request: PortalRequest, connection: Connection, path: str, refusal: str) -> HttpResponse:
    context: dict[str, object] = {"connection": connection, "refusal": refusal}
    try:
        context["level"] = browsing.look(connection, path)
    except StorageBusy as error:
        return _busy(error)
    except StorageError as error:
        context["level"] = browsing.empty(path)
        context["refusal"] = refusal or str(error)
    return render(request, "connections/_level.html", context)


def _busy(error: StorageBusy) -> JsonResponse:
    """Problem details (RFC 9457) for static/portal/browse.js, which shows their ``detail``."""
    return JsonResponse(
        {"type": "about:blank", "status": 503, "code": error.code, "detail": str(error)},
        status=503,
        headers={"Retry-After": "5"},
        content_type="application/problem+json",
    )
