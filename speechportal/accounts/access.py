"""Access to pages: the current member, and the account in the address."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from speechportal.accounts import addresses
from speechportal.accounts.models import Membership, User
from speechportal.accounts.requests import PortalRequest, attach
from speechportal.accounts.sign_in import resubmission
from speechportal.accounts.single_sign_on import session as company_session
from speechportal.platform import logs, mail

SESSION_KEY = "account"  # the uid of the account used last
SUSPENDED = _("This account is suspended: it can be read and exported, and nothing else. Ask support.")
VIEWER_REFUSED = _("Your role in this account is viewer: ask an owner or manager.")
P = ParamSpec("P")


View = Callable[Concatenate[PortalRequest, P], HttpResponseBase]
PlainView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def find_membership(request: HttpRequest) -> Membership | None:
    """The member's role in the account of the address; ``None`` in a stranger's.

    An address without an account means the one that the session used last, or else the first one.
    """
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return None
    cached: Membership | None = getattr(request, "found_membership", None)
    if cached is not None:
        return cached
    memberships = company_session.opened(
        request, Membership.objects.filter(user=user).select_related("account")
    )
    if uid := addresses.account_in(request.path_info):
        membership = memberships.filter(account__uid=uid).first()
    else:
        last_used = memberships.filter(account__uid=request.session.get(SESSION_KEY, "")).first()
        membership = last_used or memberships.first()
    cast("PortalRequest", request).found_membership = membership
    return membership


def member_required(view: View[P]) -> PlainView[P]:
    """Decorator: the view is for members of an account and gets a :class:`PortalRequest`."""

    @wraps(view)
    def opened(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        membership = find_membership(request)
        if membership is None and company_session.is_needed(request):
            return render(request, "accounts/company_sign_in_needed.html", status=403)
        if membership is None:
            raise Http404
        logs.bind(account=membership.account.uid)
        _note_as_last_used(request, membership)
        if membership.account.is_suspended and request.method not in {"GET", "HEAD"}:
            raise PermissionDenied(SUSPENDED)
        return view(attach(request, membership), *args, **kwargs)

    return signed_in_required(opened)


def signed_in_required(view: PlainView[P]) -> PlainView[P]:
    """Opens a view to users who are signed in. A form of others comes back after their sign-in."""

    @wraps(view)
    def opened(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.method == "POST":
            return resubmission.signed_out(request)
        return redirect_to_login(request.get_full_path())

    return opened


def _note_as_last_used(request: HttpRequest, membership: Membership) -> None:
    """Keep the account for addresses without one. Pages count, and not the fragments that they reload."""
    uid = membership.account.uid
    is_fragment = "HX-Request" in request.headers
    if request.method == "GET" and not is_fragment and request.session.get(SESSION_KEY) != uid:
        request.session[SESSION_KEY] = uid


def manager_required(view: View[P]) -> PlainView[P]:
    """Like :func:`member_required`, for owners and managers: viewers get 403."""

    @wraps(view)
    def opened(request: PortalRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.membership.can_change:
            raise PermissionDenied(VIEWER_REFUSED)
        return view(request, *args, **kwargs)

    return member_required(opened)


def active_account_required(request: PortalRequest) -> None:
    """For pages that act although they are read by GET, such as asking a storage: not while suspended."""
    if request.account.is_suspended:
        raise PermissionDenied(SUSPENDED)


def current_account(request: HttpRequest) -> dict[str, Any]:
    """Template context: the current account, the member's role, and the other accounts to switch to.

    ``address_to_verify``: the member's e-mail address is not verified, and the portal can mail them a link.
    """
    membership = find_membership(request) if hasattr(request, "session") else None
    user = getattr(request, "user", None)
    to_verify = isinstance(user, User) and user.email_verified_at is None and mail.is_set_up()
    context: dict[str, Any] = {"address_to_verify": to_verify}
    if membership is None:
        return {**context, "account": None, "membership": None, "memberships": []}
    memberships = Membership.objects.filter(user=membership.user).select_related("account")
    return {
        **context,
        "account": membership.account,
        "membership": membership,
        "memberships": memberships,
    }
