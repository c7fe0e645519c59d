"""Users and memberships made of what a provider or a gateway says about a person."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account, ExternalIdentity, Membership, User
from speechportal.accounts.single_sign_on.configuration import RANK, GroupRule, Provider
from speechportal.accounts.single_sign_on.protocol import Claims, SignInError


class NotAMember(SignInError):
    sentence = _("Nobody has given your company’s account access to this portal. Ask an owner.")


class AddressNotVerified(SignInError):
    sentence = _("Your company’s sign-in does not say that your e-mail address is verified.")


class AddressIsStaffs(SignInError):
    sentence = _("This address belongs to support staff, who sign in with a password and a code.")


def groups_of(claims: Claims, claim: str) -> set[str]:
    """The names of the groups in a claim: a list, or one name."""
    found = claims.get(claim)
    if isinstance(found, str):
        return {found}
    return {str(group) for group in found} if isinstance(found, list) else set()


def user_of(provider: Provider, claims: Claims) -> User:
    """The user of these claims, made now if their groups give access. Raises SignInError."""
    roles = roles_of(groups_of(claims, provider.groups_claim), provider.rules)
    known = ExternalIdentity.objects.select_related("user").filter(
        issuer=provider.issuer, subject=str(claims["sub"])
    )
    with transaction.atomic():
        if (identity := known.first()) is not None:
            user = identity.user
        else:
            user = _by_address(provider, claims, roles)
            ExternalIdentity.objects.create(user=user, issuer=provider.issuer, subject=str(claims["sub"]))
        if not user.is_active:
            raise NotAMember("the user is deactivated")
        apply_roles(user, roles, provider.rules)
    return user


def _by_address(provider: Provider, claims: Claims, roles: dict[str, str]) -> User:
    verified = claims.get("email_verified", provider.trusts_addresses)
    if verified not in {True, "true"}:
        raise AddressNotVerified("email_verified")
    return user_by_address(str(claims.get("email", "")), roles)


def user_by_address(email: str, roles: dict[str, str]) -> User:
    """The user with this verified address; a new one if they have a role somewhere. Raises SignInError."""
    try:
        validate_email(email)
    except ValidationError as error:
        raise AddressNotVerified("no address") from error
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        if not roles:
            raise NotAMember("no user, and no group with a role")
        user = User.objects.create_user(email, email_verified_at=timezone.now())
    elif user.is_staff or user.is_superuser:
        # Whoever rules the provider must not become staff by it.
        raise AddressIsStaffs("staff")
    return user


def roles_of(groups: set[str], rules: Iterable[GroupRule]) -> dict[str, str]:
    """The highest role in each account (by ID) that groups give."""
    roles: dict[str, str] = {}
    for rule in rules:
        if rule.group in groups:
            present = roles.get(rule.account)
            if present is None or RANK.index(Membership.Role(rule.role)) > RANK.index(
                Membership.Role(present)
            ):
                roles[rule.account] = rule.role
    return roles


def apply_roles(user: User, roles: dict[str, str], rules: Iterable[GroupRule]) -> None:
    """Bring the user's memberships in the accounts that the rules name in line with their groups.

    Memberships in other accounts stay. The last owner of an account stays one, so that nobody is locked out.
    """
    for uid in dict.fromkeys(rule.account for rule in rules):
        account = Account.objects.filter(uid=uid, closed_at=None).first()
        if account is None:
            continue
        present = Membership.objects.filter(account=account, user=user).first()
        wanted = roles.get(uid)
        if present is not None and present.role != wanted and _is_last_owner(present):
            continue
        if present is None and wanted:
            Membership.objects.create(account=account, user=user, role=wanted)
        elif present is not None and not wanted:
            present.delete()
        elif present is not None and wanted and present.role != wanted:
            present.role = wanted
            present.save(update_fields=["role"])


def _is_last_owner(membership: Membership) -> bool:
    owners = Membership.objects.filter(account=membership.account, role=Membership.Role.OWNER)
    return membership.role == Membership.Role.OWNER and not owners.exclude(pk=membership.pk).exists()


def record_sign_in(user: User) -> None:
    trail.record("user.company_sign_in", user)
