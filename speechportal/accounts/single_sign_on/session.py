"""What a session keeps of the provider: tokens, encrypted, and when they were checked last."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.db.models import QuerySet
from django.http import HttpRequest

from speechportal.accounts.models import Membership, User
from speechportal.accounts.single_sign_on import members, protocol
from speechportal.accounts.single_sign_on.configuration import Provider, may_break_glass, provider
from speechportal.accounts.single_sign_on.protocol import Claims, SignInError, Tokens
from speechportal.encryption import EncryptedCredentials, EncryptionError
from speechportal.platform.models import NamedLease

logger = logging.getLogger(__name__)
KEY = "company_sign_in"
GRACE = 12  # checks that a silent provider may miss before its sessions end


def begin(request: HttpRequest, user: User, found: Provider, tokens: Tokens, claims: Claims) -> None:
    """This session was signed in by the provider."""
    now = time.time()
    request.session[KEY] = {
        "issuer": found.issuer,
        "subject": str(claims["sub"]),
        "tokens": _field(user).encrypt(json.dumps(asdict(tokens))),
        "asked_at": now,
        "answered_at": now,
    }


def is_company(request: HttpRequest) -> bool:
    """Whether the provider that is configured now signed this session in."""
    kept, found = request.session.get(KEY), provider()
    return isinstance(kept, dict) and found is not None and kept.get("issuer") == found.issuer


def tokens_of(request: HttpRequest, user: User) -> Tokens | None:
    kept = request.session.get(KEY)
    if not isinstance(kept, dict):
        return None
    try:
        return Tokens(**json.loads(_field(user).decrypt(kept["tokens"])))
    except (EncryptionError, ValueError, TypeError, KeyError):
        return None


def check(request: HttpRequest, user: User) -> None:
    """Ask the provider every few minutes whether the sign-in still holds; end the session where it does not.

    Groups are read again at the same time. One request of a session asks; others go on meanwhile.
    """
    kept: dict[str, Any] = request.session[KEY]
    now = time.time()
    if now - kept["asked_at"] < settings.OIDC_RECHECK_SECONDS:
        return
    if NamedLease.take(f"sso:{request.session.session_key}"[:60], timedelta(seconds=30)) is None:
        return
    found, tokens = provider(), tokens_of(request, user)
    if found is None or tokens is None or found.issuer != kept["issuer"]:
        logout(request)
        return
    try:
        tokens, claims = protocol.renew(found, tokens, kept["subject"])
        members.user_of(found, {**claims, "sub": kept["subject"]})
    except protocol.ProviderUnavailable as error:
        logger.warning("the OpenID provider does not answer: %s", error)
        if now - kept["answered_at"] > GRACE * settings.OIDC_RECHECK_SECONDS:
            logout(request)
            return
        request.session[KEY] = {**kept, "asked_at": now}
    except SignInError as error:
        logger.info("a company sign-in ended: %s", error)
        logout(request)
    else:
        encrypted = _field(user).encrypt(json.dumps(asdict(tokens)))
        request.session[KEY] = {**kept, "tokens": encrypted, "asked_at": now, "answered_at": now}


def opened(request: HttpRequest, memberships: QuerySet[Membership]) -> QuerySet[Membership]:
    """Those whose account this session may open: some accounts take only company sign-in."""
    if provider() is None or may_open(request):
        return memberships
    return memberships.filter(account__single_sign_on_only=False)


def is_needed(request: HttpRequest) -> bool:
    """Whether the user has accounts that only company sign-in would open."""
    if provider() is None or may_open(request) or not isinstance(request.user, User):
        return False
    return Membership.objects.filter(user=request.user, account__single_sign_on_only=True).exists()


def may_open(request: HttpRequest) -> bool:
    """Whether this session opens accounts that take only company sign-in."""
    return is_company(request) or (isinstance(request.user, User) and may_break_glass(request.user.email))


def _field(user: User) -> EncryptedCredentials:
    return EncryptedCredentials(account="user", row=str(user.pk), field="company_sign_in")
