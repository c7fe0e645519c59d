"""`Provider`: the installation's OpenID provider and the rules for its groups, as the settings give them."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from speechportal.accounts.models import Membership

RANK: list[str] = [Membership.Role.VIEWER, Membership.Role.MANAGER, Membership.Role.OWNER]


@dataclass(frozen=True)
class GroupRule:
    """Members of a group have a role in an account (by its ID)."""

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


def provider() -> Provider | None:
    """The configured provider; ``None`` where there is none."""
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
    """``SPEECHPORTAL_SSO_GROUPS``: "group=acc_…:role", several with commas. Raises ImproperlyConfigured."""
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
    """Whether this address may sign in with a password where an account takes only company sign-in."""
    return email.casefold() in {address.casefold() for address in settings.SSO_BREAK_GLASS}
