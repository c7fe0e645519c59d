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
    """Give another role. A lower one withdraws the member's invitations and, on request, their tokens.

    Tokens that are kept act with the new role. Raises ``ValidationError``; also for the last owner, who
    cannot become anything else.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER and role != OWNER:
            _require_another_owner(locked)
        before, locked.role = locked.role, role
        locked.full_clean()
        locked.save(update_fields=["role"])
        if RANK[Membership.Role(role)] < RANK[Membership.Role(before)]:
            _end_what_they_made(locked, revoke_tokens=revoke_tokens)
    return locked


def remove_member(*, membership: Membership, revoke_tokens: bool = False) -> None:
    """End a membership: nothing of the account is visible to them, and their API tokens for it stop working.

    Their open invitations are withdrawn. Tokens that are not revoked would work again if they came back.
    Raises ``ValidationError`` for the last owner.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER:
            _require_another_owner(locked)
        _end_what_they_made(locked, revoke_tokens=revoke_tokens)
        locked.delete()


def open_invitations(membership: Membership) -> QuerySet[Invitation]:
    """What the member has sent and nobody has accepted."""
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
    # The account's row first, so that two owners who demote each other take turns.
    Account.objects.select_for_update().get(pk=membership.account_id)
    return Membership.objects.select_for_update().get(pk=membership.pk)


def _require_another_owner(membership: Membership) -> None:
    others = Membership.objects.filter(account=membership.account_id, role=OWNER).exclude(pk=membership.pk)
    if not others.exists():
        raise ValidationError(
            _("An account needs an owner: make somebody else one first."), code="last_owner"
        )
