"""Services that change and end memberships. An account always keeps an owner."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from speechportal.accounts.members.invitations import Invitation
from speechportal.accounts.models import Account, ApiToken, Membership
from speechportal.accounts.tokens import api_tokens

OWNER = Membership.Role.OWNER


RANK = {Membership.Role.VIEWER: 0, Membership.Role.MANAGER: 1, Membership.Role.OWNER: 2}


def change_role(*, membership: Membership, role: str, revoke_tokens: bool = False) -> Membership:
    """Change a member's role. A lower role withdraws their invitations and, on request, their tokens.

    Remaining tokens act with the new role. Raises ``ValidationError``, also for the last owner, whose role
    cannot change.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER and role != OWNER:
            _require_another_owner(locked)
        before, locked.role = locked.role, role
        locked.breaks_glass = locked.breaks_glass and role == OWNER
        locked.full_clean()
        locked.save(update_fields=["role", "breaks_glass"])
        if RANK[Membership.Role(role)] < RANK[Membership.Role(before)]:
            _end_what_they_made(locked, revoke_tokens=revoke_tokens)
    return locked


def set_break_glass(*, membership: Membership, on: bool) -> Membership:
    """Turn break-glass access on or off: an owner's password sign-in to a company-sign-in-only account.

    Raises ``ValidationError`` for anybody but an owner with a password.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if on and locked.role != OWNER:
            raise ValidationError(_("Only an owner can break the glass."), code="not_owner")
        if on and not locked.user.has_usable_password():
            raise ValidationError(
                _("This owner has no password to break the glass with."), code="no_password"
            )
        if locked.breaks_glass != on:
            locked.breaks_glass = on
            locked.save(update_fields=["breaks_glass"])
    return locked


def remove_member(*, membership: Membership, revoke_tokens: bool = False) -> None:
    """End a membership: the user loses access to the account, and their API tokens for it stop working.

    Their open invitations are withdrawn. Tokens that are not revoked work again if the user rejoins.
    Raises ``ValidationError`` for the last owner.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER:
            _require_another_owner(locked)
        _end_what_they_made(locked, revoke_tokens=revoke_tokens)
        locked.delete()


def open_invitations(membership: Membership) -> QuerySet[Invitation]:
    """Invitations that the member has sent and nobody has accepted."""
    own = Invitation.objects.for_account(membership.account)
    return own.filter(invited_by=membership.user_id, accepted_at=None, expires_at__gt=timezone.now())


def active_tokens(membership: Membership) -> QuerySet[ApiToken]:
    own = ApiToken.objects.for_account(membership.account)
    return api_tokens.active(own.filter(created_by=membership.user_id))


def _end_what_they_made(membership: Membership, *, revoke_tokens: bool) -> None:
    for invitation in open_invitations(membership):
        invitation.delete()  # one by one, so that the audit trail has them
    for token in active_tokens(membership) if revoke_tokens else ():
        api_tokens.revoke_token(token=token)


def _locked(membership: Membership) -> Membership:
    # Lock the account's row first, so that two owners cannot demote each other at the same time.
    Account.objects.select_for_update().get(pk=membership.account_id)
    return Membership.objects.select_for_update().get(pk=membership.pk)


def _require_another_owner(membership: Membership) -> None:
    others = Membership.objects.filter(account=membership.account_id, role=OWNER).exclude(pk=membership.pk)
    if not others.exists():
        raise ValidationError(
            _("An account needs an owner: make somebody else one first."), code="last_owner"
        )
