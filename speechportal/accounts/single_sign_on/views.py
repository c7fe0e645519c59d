"""Pages of company sign-in: to the provider, back from it, and out."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import asdict
from typing import Any

from django.contrib.auth import login
from django.contrib.auth.views import LogoutView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from speechportal.accounts.models import User
from speechportal.accounts.single_sign_on import members, protocol, session
from speechportal.accounts.single_sign_on.configuration import Provider, provider
from speechportal.accounts.single_sign_on.middleware import BACKEND
from speechportal.accounts.single_sign_on.protocol import Attempt, SignInError

logger = logging.getLogger(__name__)
ATTEMPT_KEY = "company_sign_in_attempt"
ATTEMPT_SECONDS = 600


def _configured() -> Provider:
    found = provider()
    if found is None:
        raise Http404
    return found


def _redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("company_sign_in_callback"))


@never_cache
@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider."""
    found, attempt = _configured(), Attempt.new()
    wanted = request.GET.get("next", "")
    sound = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    request.session[ATTEMPT_KEY] = {
        **asdict(attempt),
        "next": wanted if sound else "",
        "started_at": time.time(),
    }
    try:
        return redirect(protocol.authorization_url(found, attempt, _redirect_uri(request)))
    except SignInError as error:
        return _failed(request, error)


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """The browser is back from the provider, with a code or a refusal."""
    found = _configured()
    kept: dict[str, Any] = request.session.pop(ATTEMPT_KEY, {})  # It counts once.
    state = request.GET.get("state", "")
    fresh = time.time() - kept.get("started_at", 0) < ATTEMPT_SECONDS
    try:
        if not kept or not fresh or not secrets.compare_digest(kept["state"].encode(), state.encode()):
            raise protocol.BadToken("another state")
        if "error" in request.GET or "code" not in request.GET:
            raise protocol.ProviderRefused(request.GET.get("error", "no code")[:100])
        attempt = Attempt(kept["state"], kept["nonce"], kept["verifier"])
        tokens, claims = protocol.redeem(found, attempt, request.GET["code"], _redirect_uri(request))
        user = members.user_of(found, claims)
    except SignInError as error:
        return _failed(request, error)
    login(request, user, backend=BACKEND)
    session.begin(request, user, found, tokens, claims)
    members.record_sign_in(user)
    return redirect(kept["next"] or reverse("home"))


def _failed(request: HttpRequest, error: SignInError) -> HttpResponse:
    logger.warning("company sign-in failed: %s: %s", type(error).__name__, error)
    context = {"sentence": error.sentence}
    return render(request, "accounts/company_sign_in_failed.html", context, status=403)


class SignOut(LogoutView):
    """Signs out here, and at the provider where it signed this session in."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        elsewhere = self._end_session_url(request)
        response = super().post(request, *args, **kwargs)
        if not elsewhere:
            return response
        # No redirect: the policy of the page that posted this allows forms to end here alone.
        return render(request, "accounts/company_sign_out.html", {"url": elsewhere})

    def _end_session_url(self, request: HttpRequest) -> str:
        found = provider()
        tokens = session.tokens_of(request, request.user) if isinstance(request.user, User) else None
        if found is None or tokens is None:
            return ""
        try:
            back_to = request.build_absolute_uri(reverse("login"))
            return protocol.end_session_url(found, tokens.id_token, back_to)
        except SignInError:
            return ""
