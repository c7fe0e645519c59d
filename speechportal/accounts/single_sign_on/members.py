"""Users and memberships, created and updated from the claims of a provider or the headers of a gateway."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account, ExternalIdentity, Membership, User
from speechportal.accounts.single_sign_on.configuration import RANK, GroupRule, Provider
from speechportal.accounts.single_sign_on.protocol import Claims, SignInError

EVERYBODY = "*"


class NotAMember(SignInError):
    sentence = _("Nobody has given your company’s account access to this portal. Ask an owner.")


class AddressNotVerified(SignInError):
    sentence = _("Your company’s sign-in does not say that your e-mail address is verified.")


class AddressIsStaffs(SignInError):
    sentence = _("This address belongs to support staff, who sign in with a password and a code.")


def groups_of(claims: Claims, claim: str) -> set[str]:
    """Group names in a claim, which is a list or a single name."""
    found = claims.get(claim)
    if isinstance(found, str):
        return {found}
    return {str(group) for group in found} if isinstance(found, list) else set()


class NotConnected(SignInError):
    sentence = _(
        "Your user here is not connected with your company’s account. Sign in with your password, then open"
        " this address again."
    )


def identity_of(provider: Provider, subject: str) -> ExternalIdentity | None:
    """The identity with this subject at the provider; ``None`` if it is not linked to a user."""
    known = ExternalIdentity.objects.select_related("user").filter(issuer=provider.issuer, subject=subject)
    known = known.filter(account__uid=provider.account) if provider.account else known.filter(account=None)
    return known.first()


def user_of(provider: Provider, claims: Claims) -> User:
    """The user with these claims, created if their groups give a role; updates roles. Raises SignInError.

    Two sign-ins of one person at once may create the same rows: the one that comes second is repeated.
    """
    try:
        user = _user_of(provider, claims)
    except IntegrityError:
        user = _user_of(provider, claims)
    _require_membership(provider, user)  # not inside, where it would roll back a removed role
    return user


@transaction.atomic
def _user_of(provider: Provider, claims: Claims) -> User:
    roles = roles_of(groups_of(claims, provider.groups_claim), provider.rules)
    if (identity := identity_of(provider, str(claims["sub"]))) is not None:
        user = identity.user
    else:
        user = _by_address(provider, claims, roles)
        connect(provider, user, str(claims["sub"]))
    _admit(provider, user, roles)
    return user


def connect(provider: Provider, user: User, subject: str) -> None:
    """Link a subject of the provider to a user."""
    account = Account.objects.get(uid=provider.account) if provider.account else None
    ExternalIdentity.objects.create(user=user, account=account, issuer=provider.issuer, subject=subject)


def connect_present(provider: Provider, user: User, subject: str, groups: set[str]) -> None:
    """Link a subject to the signed-in user, who has consented, and apply their roles. Raises SignInError."""
    with transaction.atomic():
        if (identity := identity_of(provider, subject)) is None:
            connect(provider, user, subject)
        elif identity.user_id != user.pk:
            raise NotAMember("the company's account is connected with another user")
        _admit(provider, user, roles_of(groups, provider.rules))
        _require_membership(provider, user)
        trail.record("user.company_connected", user, account=Account.objects.get(uid=provider.account))


def _admit(provider: Provider, user: User, roles: dict[str, str]) -> None:
    """Check that the user may sign in by this provider, and update their roles. Raises SignInError."""
    if not user.is_active:
        raise NotAMember("the user is deactivated")
    if provider.account and (user.is_staff or user.is_superuser):
        raise AddressIsStaffs("staff")
    apply_roles(user, roles, provider.rules)


def _require_membership(provider: Provider, user: User) -> None:
    if provider.account and not Membership.objects.filter(account__uid=provider.account, user=user).exists():
        raise NotAMember("no role in the account")


def _by_address(provider: Provider, claims: Claims, roles: dict[str, str]) -> User:
    domain = str(claims.get("email", "")).rpartition("@")[2].lower()
    if provider.account and domain not in provider.domains:
        raise NotConnected("the domain of the address is not confirmed to be the account's")
    verified = claims.get("email_verified", provider.trusts_addresses)
    if verified not in {True, "true"}:
        raise AddressNotVerified("email_verified")
    return user_by_address(str(claims.get("email", "")), roles)


def user_by_address(email: str, roles: dict[str, str]) -> User:
    """The user with this verified address, created if ``roles`` gives any role. Raises SignInError."""
    try:
        validate_email(email)
    except ValidationError as error:
        raise AddressNotVerified("no address") from error
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        if not roles:
            raise NotAMember("there is no such user, and no group gives a role")
        user = User.objects.create_user(email, email_verified_at=timezone.now())
    elif user.is_staff or user.is_superuser:
        # Whoever controls the provider must not gain support staff's access.
        raise AddressIsStaffs("staff")
    return user


def roles_of(groups: set[str], rules: Iterable[GroupRule]) -> dict[str, str]:
    """Highest role that the groups give in each account, by account ID."""
    roles: dict[str, str] = {}
    for rule in rules:
        if rule.group in groups or rule.group == EVERYBODY:
            present = roles.get(rule.account)
            if present is None or RANK.index(Membership.Role(rule.role)) > RANK.index(
                Membership.Role(present)
            ):
                roles[rule.account] = rule.role
    return roles


def apply_roles(user: User, roles: dict[str, str], rules: Iterable[GroupRule]) -> None:
    """Update the user's memberships in the accounts that the rules name.

    Memberships in other accounts are kept. So are those of the last owner of an account and of its
    break-glass owners, so that nobody is locked out.
    """
    for uid in dict.fromkeys(rule.account for rule in rules):
        account = Account.objects.filter(uid=uid, closed_at=None).first()
        if account is None:
            continue
        present = Membership.objects.filter(account=account, user=user).first()
        wanted = roles.get(uid)
        if present is not None and present.role != wanted and _stays(present):
            continue
        if present is None and wanted:
            Membership.objects.create(account=account, user=user, role=wanted)
        elif present is not None and not wanted:
            present.delete()
        elif present is not None and wanted and present.role != wanted:
            present.role = wanted
            present.save(update_fields=["role"])


def _stays(membership: Membership) -> bool:
    """Whether a membership is kept whatever the groups: the last owner's, or a break-glass owner's."""
    if membership.breaks_glass and membership.role == Membership.Role.OWNER:
        return True
    owners = Membership.objects.filter(account=membership.account, role=Membership.Role.OWNER)
    return membership.role == Membership.Role.OWNER and not owners.exclude(pk=membership.pk).exists()


def record_sign_in(user: User) -> None:
    trail.record("user.company_sign_in", user)
