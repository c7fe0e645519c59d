"""Middleware: language and time zone of the member, session notes, and the second factor."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone, translation

from speechportal.accounts.models import User
from speechportal.accounts.sign_in import second_factor, sessions


class MemberPreferencesMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return self.get_response(request)
        # A language chosen in this browser (the cookie) goes before the one kept with the user.
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
    """Redirects users who have yet to enter their second factor to the page that asks for it."""

    OPEN = ("second_factor", "logout", "login", "set_language")

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: object, _args: object, _kwargs: object
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        is_open = match is not None and (match.view_name in self.OPEN or match.app_name == "help")
        if is_open or not second_factor.is_missing(request):
            return None
        where = f"?next={quote(request.get_full_path())}" if request.method == "GET" else ""
        return redirect(reverse("second_factor") + where)
