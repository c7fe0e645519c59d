"""Middleware of members: the account in the URL, language and time zone, sessions, the second factor."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation

from speechportal.accounts import addresses
from speechportal.accounts.access import find_membership
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor, sessions
from speechportal.accounts.single_sign_on import session as company_session

TRANSCRIPT_PAGES = re.compile(
    r"/a/[^/]+/(?:transcripts/|batches/[^/]+/tasks/)"
)  # pages that show transcripts


class AccountMiddleware:
    """Binds the account of the request for ``reverse``, and redirects URLs without their account.

    The account is the one in the URL; on pages without an account (help, profile) it is the one used last.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        uid = addresses.account_in(request.path_info)
        # Looked up only when a link is made, since it reads the session.
        end = addresses.bind((lambda: uid) if uid else (lambda: _last_used(request)))
        try:
            if uid is None and addresses.is_address_without_account(request.path_info):
                return _to_account_used_last(request)
            response = self.get_response(request)
            if TRANSCRIPT_PAGES.match(request.path_info):
                response.headers.setdefault("Cache-Control", "no-store")
            return response
        finally:
            end()


def _last_used(request: HttpRequest) -> str | None:
    membership = find_membership(request)
    return membership.account.uid if membership else None


def _to_account_used_last(request: HttpRequest) -> HttpResponseBase:
    """Redirect an old link or bookmark. A form is refused: its account is unknown."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    uid = _last_used(request)
    if uid is None:
        needed = company_session.needed_by(request)
        page = "accounts/company_sign_in_needed.html" if needed else "accounts/no_account.html"
        return render(request, page, {"url": needed}, status=403)
    if request.method not in {"GET", "HEAD"}:
        return render(request, "accounts/address_without_account.html", status=409)
    return HttpResponseRedirect(f"/a/{uid}{request.get_full_path()}")


class MemberPreferencesMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return self.get_response(request)
        # The browser's language (the cookie) takes precedence over the one stored with the user.
        if request.user.language and settings.LANGUAGE_COOKIE_NAME not in request.COOKIES:
            translation.activate(request.user.language)
            request.LANGUAGE_CODE = translation.get_language() or settings.LANGUAGE_CODE
        with timezone.override(request.user.zone):
            return self.get_response(request)


class SessionNotesMiddleware:
    """Stores when and from where a session was last used, for the list of sessions."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if isinstance(request.user, User):
            sessions.note(request)
        return self.get_response(request)


class SecondFactorMiddleware:
    """Redirects users who have not entered their second factor yet to the page that asks for it."""

    OPEN = ("second_factor", "logout", "login", "set_language", "passkey_options", "passkey_sign_in")
    SETTING_UP = ("passkey_add", "passkey_add_options")  # for staff without a second factor

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: object, _kwargs: object
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        is_open = match is not None and (match.view_name in self.OPEN or match.app_name == "help")
        if match is not None and match.view_name in self.SETTING_UP:
            is_open = not second_factor.is_set_up_by_sender(request)
        if is_open or not second_factor.is_missing(request):
            return None
        where = f"?next={quote(request.get_full_path())}" if request.method == "GET" else ""
        return redirect(reverse("second_factor") + where)
