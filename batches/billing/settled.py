"""Sums of charges that can no longer change, kept in the cache of the process.

Charges are immutable, and each is committed within seconds of its time. A sum over charges that are older
than a day is therefore final: a process computes it once, and then reads the newest charges only, however
many an account has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.cache import cache
from django.db.models import Case, IntegerField, Value, When

from batches.billing.money import MoneySum
from batches.models import Charge
from speechportal.accounts.models import Account

SETTLES_AFTER = timedelta(days=1)
KEPT_FOR = 2 * 86_400  # seconds


def edge(now: datetime) -> datetime:
    """Charges from before this time are settled: a midnight in UTC, one to two days ago."""
    return (now - SETTLES_AFTER).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def amount(account: Account, start: datetime, end: datetime) -> Decimal:
    """Sum of the account's charges in its currency from ``start`` to before ``end``, which is settled."""
    if end <= start:
        return Decimal(0)
    key = f"settled:{account.uid}:{account.currency}:{start.timestamp():.0f}:{end.timestamp():.0f}"
    found: Decimal | None = cache.get(key)
    if found is None:
        charges = Charge.objects.for_account(account).filter(
            currency=account.currency, created_at__gte=start, created_at__lt=end
        )
        found = charges.aggregate(total=MoneySum("amount"))["total"] or Decimal(0)
        cache.set(key, found, KEPT_FOR)
    return found


def period_of(starts: Sequence[datetime]) -> Case:
    """Expression for the number, from 0 on, of the period in which a charge was made.

    ``starts`` are the beginnings of the periods, the earliest first. Comparing is faster than the
    truncation of dates, which SQLite leaves to a Python function for each row.
    """
    numbered: list[Any] = [
        When(created_at__gte=start, then=Value(number)) for number, start in enumerate(starts)
    ]
    return Case(*reversed(numbered), output_field=IntegerField())
