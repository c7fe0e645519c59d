"""Service that changes an account's settings, for owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TypedDict, Unpack

from django.db import transaction

from speechportal.accounts.models import Account


@contextmanager
def account_locked(account: Account) -> Iterator[None]:
    """A transaction in which nobody else edits what the account owns: forms compare and write inside."""
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


def update_account(*, account: Account, **fields: Unpack[AccountFields]) -> Account:
    """Change the given fields. Raises ``ValidationError``."""
    with transaction.atomic():
        locked = Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        for name, value in fields.items():
            setattr(locked, name, value)
        locked.full_clean()
        locked.save(update_fields=list(fields))
    return locked
