"""Pages of company sign-in: redirect to the provider, callback, linking of a user, and sign-out."""

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

from speechportal.accounts import addresses
from speechportal.accounts.access import signed_in_required
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import fresh_password
from speechportal.accounts.sign_in.backends import MEMBER_BACKEND
from speechportal.accounts.single_sign_on import account_providers, members, protocol, session
from speechportal.accounts.single_sign_on.configuration import Provider, provider
from speechportal.accounts.single_sign_on.protocol import Attempt, Claims, SignInError, Tokens

logger = logging.getLogger(__name__)
ATTEMPT_KEY = "company_sign_in_attempt"
PENDING_KEY = "company_sign_in_pending"  # session key of the identity that waits for the user's consent
ATTEMPT_SECONDS = 600


def _configured(account: str) -> Provider:
    found = account_providers.of_account(account) if account else provider()
    if found is None:
        raise Http404
    return found


def _redirect_uri(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("company_sign_in_callback"))


@never_cache
@require_GET
def start(request: HttpRequest, account: str = "") -> HttpResponse:
    """Redirect to the sign-in page of the installation's provider, or of the account with this ID."""
    found, attempt = _configured(account), Attempt.new()
    wanted = request.GET.get("next", "")
    sound = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    request.session[ATTEMPT_KEY] = {
        **asdict(attempt),
        "account": account,
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
    """Complete the sign-in when the provider redirects back with a code or an error."""
    kept: dict[str, Any] = request.session.pop(ATTEMPT_KEY, {})  # An attempt can be used once.
    found = _configured(kept.get("account", ""))
    state = request.GET.get("state", "")
    fresh = time.time() - kept.get("started_at", 0) < ATTEMPT_SECONDS
    try:
        if not kept or not fresh or not secrets.compare_digest(kept["state"].encode(), state.encode()):
            raise protocol.BadToken("another state")
        if "error" in request.GET or "code" not in request.GET:
            raise protocol.ProviderRefused(request.GET.get("error", "no code")[:100])
        attempt = Attempt(kept["state"], kept["nonce"], kept["verifier"])
        tokens, claims = protocol.redeem(found, attempt, request.GET["code"], _redirect_uri(request))
        if found.account and isinstance(request.user, User) and not session.scope(request):
            return _beside(request, request.user, found, tokens, claims)
        user = members.user_of(found, claims)
    except SignInError as error:
        return _failed(request, error)
    login(request, user, backend=MEMBER_BACKEND)
    session.begin(request, user, found, tokens, str(claims["sub"]), alone=True)
    if not found.account:
        fresh_password.note(request)  # so that a user without a password can add a passkey
    members.record_sign_in(user)
    return redirect(kept["next"] or _home(found))


def _home(found: Provider) -> str:
    return addresses.path(found.account, "home") if found.account else reverse("home")


def _beside(
    request: HttpRequest, user: User, found: Provider, tokens: Tokens, claims: Claims
) -> HttpResponse:
    """Sign-in by an account's provider in an existing session; an unlinked identity needs consent first."""
    subject = str(claims["sub"])
    identity = members.identity_of(found, subject)
    if identity is None:
        request.session[PENDING_KEY] = {
            "account": found.account,
            "issuer": found.issuer,
            "subject": subject,
            "name": str(claims.get("email") or claims.get("name") or subject)[:200],
            "groups": sorted(members.groups_of(claims, found.groups_claim)),
            "tokens": session.encrypted(user, tokens),
            "at": time.time(),
        }
        return redirect("company_sign_in_connect")
    if identity.user_id != user.pk:
        raise members.NotAMember("the company's account is connected with another user")
    members.user_of(found, claims)
    session.begin(request, user, found, tokens, subject, alone=False)
    members.record_sign_in(user)
    return redirect(_home(found))


@never_cache
@signed_in_required
def connect(request: HttpRequest) -> HttpResponse:
    """Ask the user to confirm that the identity is theirs: opening a URL alone must not link it."""
    kept: dict[str, Any] = request.session.get(PENDING_KEY, {})
    if not kept or time.time() - kept["at"] > ATTEMPT_SECONDS or session.scope(request):
        return redirect("home")
    found = _configured(kept["account"])
    assert isinstance(request.user, User)  # noqa: S101 - signed_in_required
    if request.method != "POST":
        return render(
            request, "accounts/company_sign_in_connect.html", {"name": kept["name"], "provider": found}
        )
    del request.session[PENDING_KEY]
    tokens = session.decrypted(request.user, kept["tokens"])
    try:
        if tokens is None or found.issuer != kept["issuer"]:
            raise protocol.BadToken("another provider by now")
        members.connect_present(found, request.user, kept["subject"], set(kept["groups"]))
    except SignInError as error:
        return _failed(request, error)
    session.begin(request, request.user, found, tokens, kept["subject"], alone=False)
    return redirect(_home(found))


def _failed(request: HttpRequest, error: SignInError) -> HttpResponse:
    logger.warning("company sign-in failed: %s: %s", type(error).__name__, error)
    context = {"sentence": error.sentence}
    return render(request, "accounts/company_sign_in_failed.html", context, status=403)


class SignOut(LogoutView):
    """Sign out here, and at the provider if it signed this session in."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        elsewhere = self._end_session_url(request)
        response = super().post(request, *args, **kwargs)
        if not elsewhere:
            return response
        # Not a redirect: the posting page's Content-Security-Policy forbids forms to redirect elsewhere.
        return render(request, "accounts/company_sign_out.html", {"url": elsewhere})

    def _end_session_url(self, request: HttpRequest) -> str:
        found = session.provider_of_session(request)
        tokens = session.tokens_of(request, request.user) if isinstance(request.user, User) else None
        if found is None or tokens is None:
            return ""
        try:
            back_to = request.build_absolute_uri(reverse("login"))
            return protocol.end_session_url(found, tokens.id_token, back_to)
        except SignInError:
            return ""
