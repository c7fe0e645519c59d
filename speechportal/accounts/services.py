"""Service that changes an account's settings, for owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TypedDict, Unpack

from django.db import transaction

from speechportal.accounts.members import two_factor_duty
from speechportal.accounts.models import Account


@contextmanager
def account_locked(account: Account) -> Iterator[None]:
    """Transaction with a lock on the account's row, in which forms compare versions and write."""
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        yield


class AccountFields(TypedDict, total=False):
    name: str
    monthly_budget: Decimal | None
    time_zone: str
    transcript_days: int | None
    log_days: int | None
    support_reads_until: datetime | None
    single_sign_on_only: bool
    two_factor_required: bool


def update_account(*, account: Account, **fields: Unpack[AccountFields]) -> Account:
    """Change the given fields. Raises ``ValidationError``."""
    with transaction.atomic():
        locked = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        was_required = locked.two_factor_required
        for name, value in fields.items():
            setattr(locked, name, value)
        locked.full_clean()
        locked.save(update_fields=list(fields))
        if locked.two_factor_required and not was_required:
            two_factor_duty.notify_missing(locked)
    return locked
