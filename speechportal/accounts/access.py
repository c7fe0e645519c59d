"""Access to pages: the current member, and the account that the session works in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import Membership, User
from speechportal.accounts.requests import PortalRequest, attach
from speechportal.platform import logs

SESSION_KEY = "account"
VIEWER_REFUSED = _("Your role in this account is viewer: ask an owner or manager.")
P = ParamSpec("P")


View = Callable[Concatenate[PortalRequest, P], HttpResponseBase]
PlainView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def find_membership(request: HttpRequest) -> Membership | None:
    """The member's role in the session's account, or in their first one; ``None`` without any."""
    if not isinstance(request.user, User):
        return None
    cached: Membership | None = getattr(request, "found_membership", None)
    if cached is not None:
        return cached
    memberships = Membership.objects.filter(user=request.user).select_related("account")
    chosen = memberships.filter(account__uid=request.session.get(SESSION_KEY, "")).first()
    membership = chosen or memberships.first()
    cast("PortalRequest", request).found_membership = membership
    return membership


def member_required(view: View[P]) -> PlainView[P]:
    """Decorator: the view is for members of an account and gets a :class:`PortalRequest`."""

    @wraps(view)
    def opened(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        membership = find_membership(request)
        if membership is None:
            return render(request, "accounts/no_account.html", status=403)
        logs.bind(account=membership.account.uid)
        return view(attach(request, membership), *args, **kwargs)

    return login_required(opened)


def manager_required(view: View[P]) -> PlainView[P]:
    """Like :func:`member_required`, for owners and managers: viewers get 403."""

    @wraps(view)
    def opened(request: PortalRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.membership.can_change:
            raise PermissionDenied(VIEWER_REFUSED)
        return view(request, *args, **kwargs)

    return member_required(opened)


def current_account(request: HttpRequest) -> dict[str, Any]:
    """Template context: the current account, the member's role, and the other accounts to switch to."""
    membership = find_membership(request) if hasattr(request, "session") else None
    if membership is None:
        return {"account": None, "membership": None, "memberships": []}
    memberships = Membership.objects.filter(user=membership.user).select_related("account")
    return {"account": membership.account, "membership": membership, "memberships": memberships}
