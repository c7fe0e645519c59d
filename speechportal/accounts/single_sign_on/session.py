"""Company sign-in data of a session: the provider's encrypted tokens, and the times of the last check.

A session that an account's own provider began has access to that account alone (:func:`scope`). A session
that began by password or by the installation's provider keeps its access when the user also signs in by an
account's provider, and gains that account if it requires company sign-in.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from speechportal.accounts import addresses
from speechportal.accounts.models import Account, Membership, User
from speechportal.accounts.single_sign_on import account_providers, members, protocol
from speechportal.accounts.single_sign_on.configuration import Provider, may_break_glass, provider
from speechportal.accounts.single_sign_on.protocol import SignInError, Tokens
from speechportal.encryption import EncryptedCredentials, EncryptionError
from speechportal.platform.models import NamedLease

logger = logging.getLogger(__name__)
KEY = "company_sign_in"
GRACE = 12  # checks that a provider may leave unanswered before its sessions end
SCOPED = _("You signed in by the company sign-in of one account. Sign in with your password for this page.")


def begin(
    request: HttpRequest, user: User, found: Provider, tokens: Tokens, subject: str, *, alone: bool
) -> None:
    """Store a provider's sign-in in the session. ``alone``: the session has no other sign-in."""
    now = time.time()
    request.session[KEY] = {
        "issuer": found.issuer,
        "account": found.account,
        "alone": alone,
        "subject": subject,
        "tokens": encrypted(user, tokens),
        "asked_at": now,
        "answered_at": now,
    }


def encrypted(user: User, tokens: Tokens) -> str:
    return _field(user).encrypt(json.dumps(asdict(tokens)))


def decrypted(user: User, text: str) -> Tokens | None:
    try:
        return Tokens(**json.loads(_field(user).decrypt(text)))
    except (EncryptionError, ValueError, TypeError):
        return None


def _kept(request: HttpRequest) -> dict[str, Any]:
    kept = request.session.get(KEY)
    return kept if isinstance(kept, dict) else {}


def scope(request: HttpRequest) -> str:
    """ID of the only account that this session has access to; empty if it is not restricted to one."""
    kept = _kept(request)
    return str(kept.get("account", "")) if kept.get("alone") else ""


def provider_of(kept: dict[str, Any]) -> Provider | None:
    """Present configuration of the provider that signed a session in; ``None`` if it has been replaced."""
    uid = kept.get("account", "")
    found = account_providers.of_account(uid) if uid else provider()
    return found if found is not None and found.issuer == kept.get("issuer") else None


def provider_of_account(account: Account) -> Provider | None:
    """Provider for the members of an account: its own, or else the installation's."""
    return account_providers.of_account(account.uid) or provider()


def provider_of_session(request: HttpRequest) -> Provider | None:
    kept = _kept(request)
    return provider_of(kept) if kept else None


def tokens_of(request: HttpRequest, user: User) -> Tokens | None:
    return decrypted(user, str(_kept(request).get("tokens", "")))


def check(request: HttpRequest, user: User) -> None:
    """Recheck the sign-in with the provider every few minutes, and end it if it is no longer valid.

    Also updates the user's roles from their groups. A lease lets one request of a session do this; others
    continue meanwhile.
    """
    kept = _kept(request)
    now = time.time()
    if now - kept["asked_at"] < settings.OIDC_RECHECK_SECONDS:
        return
    if NamedLease.take(f"sso:{request.session.session_key}"[:60], timedelta(seconds=30)) is None:
        return
    found, tokens = provider_of(kept), tokens_of(request, user)
    if found is None or tokens is None:
        _end(request)
        return
    try:
        tokens, claims = protocol.renew(found, tokens, kept["subject"])
        members.user_of(found, {**claims, "sub": kept["subject"]})
    except protocol.ProviderUnavailable as error:
        logger.warning("the OpenID provider is not available: %s", error)
        if now - kept["answered_at"] > GRACE * settings.OIDC_RECHECK_SECONDS:
            _end(request)
            return
        request.session[KEY] = {**kept, "asked_at": now}
    except SignInError as error:
        logger.info("a company sign-in ended: %s", error)
        _end(request)
    else:
        request.session[KEY] = {
            **kept,
            "tokens": encrypted(user, tokens),
            "asked_at": now,
            "answered_at": now,
        }


def _end(request: HttpRequest) -> None:
    """End the session; if it also has another sign-in, only that of the account's provider."""
    kept = _kept(request)
    if kept.get("account") and not kept.get("alone"):
        del request.session[KEY]
    else:
        logout(request)


def opened(request: HttpRequest, memberships: QuerySet[Membership]) -> QuerySet[Membership]:
    """Filter memberships to accounts that this session may open: some require company sign-in."""
    if uid := scope(request):
        return memberships.filter(account__uid=uid)
    if isinstance(request.user, User) and may_break_glass(request.user.email):
        return memberships
    kept = _kept(request)
    free = Q(account__single_sign_on_only=False) | Q(breaks_glass=True, role=Membership.Role.OWNER)
    if kept.get("account"):
        free |= Q(account__uid=kept["account"])
    elif kept or provider() is None:
        # Accounts without their own provider need the installation's; if there is none, they are open.
        free |= Q(account__provider=None)
    return memberships.filter(free)


def needed_by(request: HttpRequest) -> str | None:
    """URL to sign in for an account of the user that this session may not open; ``None`` if there is none."""
    if not isinstance(request.user, User):
        return None
    own = Membership.objects.filter(user=request.user).select_related("account")
    if uid := addresses.account_in(request.path_info):
        own = own.filter(account__uid=uid)
    closed = own.exclude(pk__in=opened(request, own).values("pk")).first()
    if closed is None:
        return None
    if account_providers.of_account(closed.account.uid) is not None:
        return reverse("company_sign_in_to", args=[closed.account.uid])
    return reverse("company_sign_in") if provider() is not None else reverse("login")


def may_open(request: HttpRequest, account: Account) -> bool:
    """Whether this session may open the account once the account requires company sign-in."""
    if isinstance(request.user, User) and may_break_glass(request.user.email):
        return True
    kept, found = _kept(request), provider_of_account(account)
    signed_in_by = found is not None and kept.get("account", "") == found.account and bool(kept)
    glass = Membership.objects.filter(account=account, user=request.user.pk, breaks_glass=True)
    return signed_in_by or glass.exists()


def _field(user: User) -> EncryptedCredentials:
    return EncryptedCredentials(account="user", row=str(user.pk), field="company_sign_in")
