"""`Provider` and `GroupRule`: the installation's OpenID provider and group rules, read from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from speechportal.accounts.models import Membership

RANK: list[str] = [Membership.Role.VIEWER, Membership.Role.MANAGER, Membership.Role.OWNER]


@dataclass(frozen=True)
class GroupRule:
    """Rule that gives the members of a group a role in an account (by ID). The group ``*`` is everybody."""

    group: str
    account: str
    role: str


@dataclass(frozen=True)
class Provider:
    issuer: str
    client_id: str
    client_secret: str
    label: str
    scopes: str
    groups_claim: str
    rules: tuple[GroupRule, ...]
    trusts_addresses: bool
    account: str = ""  # ID of the account, for an account's own provider; empty for the installation's
    domains: frozenset[str] = frozenset()  # confirmed e-mail domains of an account's own provider


def provider() -> Provider | None:
    """The installation's provider; ``None`` if none is configured."""
    if not settings.OIDC_ISSUER:
        return None
    return Provider(
        issuer=settings.OIDC_ISSUER.rstrip("/"),
        client_id=settings.OIDC_CLIENT_ID,
        client_secret=settings.OIDC_CLIENT_SECRET,
        label=settings.OIDC_LABEL,
        scopes=settings.OIDC_SCOPES,
        groups_claim=settings.OIDC_GROUPS_CLAIM,
        rules=group_rules(),
        trusts_addresses=settings.OIDC_TRUST_EMAIL,
    )


def group_rules() -> tuple[GroupRule, ...]:
    """Parse ``SPEECHPORTAL_SSO_GROUPS``: "group=acc_…:role", comma-separated. Raises ImproperlyConfigured."""
    rules = []
    for entry in settings.SSO_GROUPS:
        group, equals, target = entry.rpartition("=")
        account, colon, role = target.partition(":")
        if not (equals and colon and group and account) or role not in Membership.Role.values:
            raise ImproperlyConfigured(
                f"SPEECHPORTAL_SSO_GROUPS: {entry!r} is not of the form group=acc_…:role"
            )
        rules.append(GroupRule(group.strip(), account.strip(), role))
    return tuple(rules)


def may_break_glass(email: str) -> bool:
    """Whether this user may sign in with a password to an account that requires company sign-in."""
    return email.casefold() in {address.casefold() for address in settings.SSO_BREAK_GLASS}
