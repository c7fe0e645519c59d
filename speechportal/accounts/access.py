"""Access control of pages: the current member, and the account in the URL."""

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
from speechportal.accounts.members import two_factor_duty
from speechportal.accounts.models import Membership, User
from speechportal.accounts.requests import PortalRequest, attach
from speechportal.accounts.sign_in import passkeys, resubmission
from speechportal.accounts.single_sign_on import session as company_session
from speechportal.platform import logs, mail

SESSION_KEY = "account"  # the uid of the account used last
SUSPENDED = _("This account is suspended: it can be read and exported, and nothing else. Ask support.")
VIEWER_REFUSED = _("Your role in this account is viewer: ask an owner or manager.")
P = ParamSpec("P")


View = Callable[Concatenate[PortalRequest, P], HttpResponseBase]
PlainView = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def find_membership(request: HttpRequest) -> Membership | None:
    """Return the user's membership of the account in the URL; ``None`` if they are not a member.

    A URL without an account means the one that the session used last, or else the first one.
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
    """Decorator: the view requires a member of an account, and gets a :class:`PortalRequest`."""

    @wraps(view)
    def opened(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        membership = find_membership(request)
        if membership is None and (needed := company_session.needed_by(request)) is not None:
            return render(request, "accounts/company_sign_in_needed.html", {"url": needed}, status=403)
        if membership is None:
            raise Http404
        logs.bind(account=membership.account.uid)
        _note_as_last_used(request, membership)
        if two_factor_duty.is_neglected(request, membership):
            return _second_factor_needed(request, membership)
        if membership.account.is_suspended and request.method not in {"GET", "HEAD"}:
            raise PermissionDenied(SUSPENDED)
        return view(attach(request, membership), *args, **kwargs)

    return signed_in_required(opened)


def _second_factor_needed(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """Redirect a member to set up the second factor that the account requires."""
    opened = company_session.opened(request, Membership.objects.filter(user=membership.user_id))
    others = [each.account for each in opened.exclude(pk=membership.pk).select_related("account")]
    context = {
        "needing": membership.account,
        "others": [(account.name, addresses.path(account.uid, "home")) for account in others],
        "passkeys_possible": passkeys.is_possible(request),
    }
    return render(request, "accounts/two_factor_needed.html", context, status=403)


def signed_in_required(view: PlainView[P]) -> PlainView[P]:
    """Decorator: the view requires a signed-in user. A submitted form is restored after the sign-in."""

    @wraps(view)
    def opened(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.method == "POST":
            return resubmission.signed_out(request)
        return redirect_to_login(request.get_full_path())

    return opened


def _note_as_last_used(request: HttpRequest, membership: Membership) -> None:
    """Store the account as the last one used, for URLs without one. Requests for fragments do not count."""
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
    """Refuse while the account is suspended; for GET pages with effects, such as requests to a storage."""
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
    own = Membership.objects.filter(user=membership.user).select_related("account")
    memberships = company_session.opened(request, own)
    return {
        **context,
        "account": membership.account,
        "membership": membership,
        "memberships": memberships,
    }
