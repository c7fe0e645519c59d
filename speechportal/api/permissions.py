"""Permissions of a token: its scopes, and the role of the member it acts for."""

from __future__ import annotations

from typing import Any, cast

from django.utils.translation import gettext as _
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from speechportal.accounts.access import SUSPENDED, VIEWER_REFUSED
from speechportal.accounts.models import Membership
from speechportal.accounts.tokens import scopes
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.platform.http import host_alone


class TokenPermission(BasePermission):
    """Checks the view's ``area`` against the token's scopes, and its ``roles`` against the member's role."""

    def has_permission(self, request: Request, view: Any) -> bool:
        asked = cast("ApiRequest", request)
        write = request.method not in SAFE_METHODS
        if not scopes.allows(asked.auth.scopes, view.area, write=write):
            wanted = f"{view.area}:{'write' if write else 'read'}"
            raise Problem(403, "scope_missing", _("This API token lacks the scope “%s”.") % wanted)
        roles = getattr(view, "roles", None)
        if roles is not None and asked.membership.role not in roles:
            names = ", ".join(str(Membership.Role(role).label) for role in roles)
            raise Problem(403, "role_missing", _("This is for members with the role: %s.") % names)
        if write and asked.account.is_suspended:
            raise Problem(403, "account_suspended", str(SUSPENDED))
        if write and not asked.membership.can_change:
            raise Problem(403, "role_missing", str(VIEWER_REFUSED))
        return True


def managers_only(request: ApiRequest) -> None:
    """Require an owner or manager: for data that viewers may not read, and for GETs with effects."""
    if not request.membership.can_change:
        raise Problem(403, "role_missing", str(VIEWER_REFUSED))
    if request.account.is_suspended:
        raise Problem(403, "account_suspended", str(SUSPENDED))


def webhook_url_for(request: ApiRequest | None, url: str) -> str:
    """Webhook URL for the requesting member; viewers see its host only, since a path is often a secret."""
    sees_all = request is not None and request.membership.can_change
    return url if sees_all else host_alone(url)
