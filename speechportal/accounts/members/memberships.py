"""Services that change and remove memberships. An account always keeps an owner."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from speechportal.accounts.models import Account, Membership

OWNER = Membership.Role.OWNER


def change_role(*, membership: Membership, role: str) -> Membership:
    """Change a member's role. Raises ``ValidationError``, also for the last owner."""
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER and role != OWNER:
            _require_another_owner(locked)
        locked.role = role
        locked.full_clean()
        locked.save(update_fields=["role"])
    return locked


def remove_member(*, membership: Membership) -> None:
    """Remove a member: they lose access to the account, and their API tokens for it stop working.

    Raises ``ValidationError`` for the last owner.
    """
    with transaction.atomic():
        locked = _locked(membership)
        if locked.role == OWNER:
            _require_another_owner(locked)
        locked.delete()


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
