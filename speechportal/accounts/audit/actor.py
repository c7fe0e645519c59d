"""`Actor`: the author of a change and their address, recorded in the audit trail with every change.

Each request has its actor (:class:`ActorMiddleware`): a member, an API token, or support staff. Code that
runs without a request acts as the system.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.db import models
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext_lazy as _

from speechportal.platform import logs
from speechportal.platform.http import client_address


class Kind(models.TextChoices):
    MEMBER = "member", _("Member")
    TOKEN = "token", _("API token")
    STAFF = "staff", _("Support staff")
    SYSTEM = "system", _("System")


@dataclass(frozen=True)
class Actor:
    kind: Kind
    user_id: int | None = None
    label: str = ""  # name of a token or a command
    address: str | None = None
    request_id: str = ""
    reason: str = ""


SYSTEM = Actor(Kind.SYSTEM)
_resolve: ContextVar[Callable[[], Actor] | None] = ContextVar("actor", default=None)
_reason: ContextVar[str] = ContextVar("reason", default="")


def current_actor() -> Actor:
    resolve = _resolve.get()
    actor = resolve() if resolve else SYSTEM
    return replace(actor, reason=_reason.get())


@contextmanager
def acting_as(actor: Actor | Callable[[], Actor]) -> Iterator[None]:
    """Context manager: changes inside are recorded as made by ``actor``.

    A callable is called only when something is recorded.
    """
    before = _resolve.set(actor if callable(actor) else lambda: actor)
    try:
        yield
    finally:
        _resolve.reset(before)


@contextmanager
def with_reason(reason: str) -> Iterator[None]:
    """Context manager: changes inside are recorded with this reason."""
    before = _reason.set(reason.strip())
    try:
        yield
    finally:
        _reason.reset(before)


class ActorMiddleware:
    """Sets the actor of the request. Comes after the authentication middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Resolved only when something is recorded: looking at the user reads the session.
        request_id = str(getattr(request, "request_id", ""))
        with acting_as(lambda: _of_request(request)), logs.context(request=request_id):
            return self.get_response(request)


def _of_request(request: HttpRequest) -> Actor:
    where = _address(request), str(getattr(request, "request_id", ""))
    if (token := getattr(request, "token", None)) is not None:
        return Actor(Kind.TOKEN, token.created_by_id, f"{token.name} ({token.start})", *where)
    user: Any = getattr(request, "user", None)
    match = request.resolver_match
    in_admin = match is not None and "admin" in match.app_names
    kind = Kind.STAFF if in_admin and getattr(user, "is_staff", False) else Kind.MEMBER
    return Actor(kind, getattr(user, "pk", None), "", *where)


def _address(request: HttpRequest) -> str | None:
    try:
        return str(ipaddress.ip_address(client_address(request)))
    except ValueError:  # A socket of this machine.
        return None
