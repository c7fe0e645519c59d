"""Token authentication: ``Authorization: Bearer spk_…`` sets the account and its member."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from speechportal.accounts.members import two_factor_duty
from speechportal.accounts.models import ApiToken, Membership, User
from speechportal.accounts.requests import attach
from speechportal.accounts.tokens import api_tokens, scopes
from speechportal.api.problems import Problem
from speechportal.platform import logs
from speechportal.platform.http import client_address

CHALLENGE = 'Bearer realm="speechportal"'


class TokenAuthentication(BaseAuthentication):
    """Sets ``request.account`` and ``request.membership``, and counts the request.

    A token acts for the member who made it: it can do no more than that member's present role, and stops
    with the membership.
    """

    def authenticate(self, request: Request) -> tuple[User, ApiToken]:
        token = self.checked(request, self.presented(request))
        membership = Membership.objects.filter(account=token.account_id, user=token.created_by_id).first()
        if membership is None or not token.created_by.is_active:
            raise _refused("member_left", _("The member who made this token has left the account."))
        membership.account = token.account
        if token.account.two_factor_required and not two_factor_duty.fulfils(token.created_by):
            raise Problem(
                403,
                "two_factor_missing",
                _("The account asks for two-factor sign-in, which the member who made this token lacks."),
            )
        # Set on Django's request, which middleware sees; REST framework's request reads them from there.
        attach(request._request, membership, token)  # noqa: SLF001 - REST framework's own name for it
        logs.bind(account=token.account.uid)
        self.count(token)
        return token.created_by, token

    def presented(self, request: Request) -> str:
        kind, _space, plain = request.headers.get("Authorization", "").partition(" ")
        if not kind:
            raise _refused("token_missing", _("Send an API token: “Authorization: Bearer spk_…”."))
        if kind.lower() != "bearer":
            raise _refused("token_invalid", _("Only “Authorization: Bearer spk_…” is understood."))
        return plain.strip()

    def checked(self, request: Request, plain: str) -> ApiToken:
        token = api_tokens.find_token(plain)
        if token is None:
            raise _refused("token_invalid", _("This API token does not exist."))
        if token.revoked_at is not None:
            raise _refused("token_revoked", _("This API token was revoked."))
        if token.is_expired:
            raise _refused("token_expired", _("This API token has expired."))
        address = client_address(request._request)  # noqa: SLF001 - REST framework's own name for it
        if not scopes.admits(token.allowed_addresses, address):
            raise Problem(
                403, "address_not_allowed", _("This API token may not be used from %s.") % (address or "?")
            )
        return token

    def count(self, token: ApiToken) -> None:
        limit = settings.API_REQUESTS_PER_MINUTE
        if not api_tokens.note_use(token, limit):
            wait = str(api_tokens.seconds_left(token))
            raise Problem(
                429,
                "rate_limited",
                _("More than %(limit)d requests in a minute. Wait %(seconds)s seconds.")
                % {"limit": limit, "seconds": wait},
                {"Retry-After": wait, **rate_headers(token, used_up=True)},
            )

    def authenticate_header(self, _request: Request) -> str:
        return CHALLENGE


def rate_headers(token: ApiToken, *, used_up: bool = False) -> dict[str, str]:
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-10)."""
    limit = settings.API_REQUESTS_PER_MINUTE
    left = 0 if used_up else max(0, limit - token.minute_requests)
    return {
        "RateLimit-Policy": f'"token";q={limit};w=60',
        "RateLimit": f'"token";r={left};t={api_tokens.seconds_left(token)}',
    }


def _refused(code: str, sentence: str) -> exceptions.AuthenticationFailed:
    return exceptions.AuthenticationFailed(sentence, code=code)


def token_of(request: Any) -> ApiToken | None:
    return getattr(request, "token", None)
