"""Cached sums of settled charges, which can no longer change.

Charges are immutable, and each is committed within seconds of its timestamp. A sum over charges older than an
hour is therefore final. A period has up to three parts (:func:`parts`): until a midnight a day or two ago,
from there until an hour ago, and the newest charges. Only the newest are read each time, however many an
account has; the second part is read once an hour, and the first once a day.

The portal itself never deletes a charge, but an operator may do so with SQL, and a backup may be restored
beneath a running process. A sum is therefore cached for a few hours only, and only while the oldest charge of
its period stays the same: after a deletion of old charges, no sum that includes them is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

from django.core.cache import cache
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.utils import timezone

from batches.billing.money import MoneySum
from batches.models import Charge
from speechportal.accounts.models import Account

Sum = TypeVar("Sum")
KEPT_FOR = 6 * 3600  # seconds


def edge(now: datetime) -> datetime:
    """Charges from before this time are settled: a full hour, one to two hours ago."""
    return (now - timedelta(hours=1)).astimezone(UTC).replace(minute=0, second=0, microsecond=0)


@dataclass(frozen=True)
class Part:
    """Part of a period: charges from ``start`` (inclusive) to ``end`` (exclusive)."""

    start: datetime
    end: datetime
    is_settled: bool

    def key(self, name: str, account: Account, first: int | None) -> str:
        """Cache key of a sum. ``first`` is the oldest charge of the whole period."""
        period = f"{self.start.timestamp():.0f}:{self.end.timestamp():.0f}"
        return f"{name}:{account.uid}:{account.currency}:{account.time_zone}:{period}:{first}"

    def charges(self, account: Account) -> QuerySet[Charge]:
        return Charge.objects.for_account(account).filter(created_at__gte=self.start, created_at__lt=self.end)


def parts(start: datetime, end: datetime) -> list[Part]:
    """Split a period into its parts, the earliest first."""
    hour = edge(timezone.now())
    midnight = (hour - timedelta(days=1)).replace(hour=0)
    cuts = [start, *(cut for cut in (midnight, hour) if start < cut < end), end]
    return [Part(since, until, until <= hour) for since, until in pairwise(cuts)]


def cached(part: Part, key: str, read: Callable[[Part], Sum]) -> Sum:
    """Return ``read(part)``, from the cache if the part is settled."""
    if not part.is_settled:
        return read(part)
    found: Sum | None = cache.get(key)
    if found is None:
        found = read(part)
        cache.set(key, found, KEPT_FOR)
    return found


def oldest(charges: QuerySet[Charge]) -> QuerySet[Charge, int]:
    """Primary key of the oldest charge, as a subquery or a value."""
    return charges.order_by("created_at").values_list("pk", flat=True)[:1]


def amount(account: Account, start: datetime, end: datetime, first: int | None) -> Decimal:
    """Sum of the account's charges in its currency from ``start`` to ``end`` (exclusive), all settled.

    ``first`` is the oldest charge of the account from ``start`` on.
    """

    def read(part: Part) -> Decimal:
        charges = part.charges(account).filter(currency=account.currency)
        return charges.aggregate(total=MoneySum("amount"))["total"] or Decimal(0)

    if end <= start:
        return Decimal(0)
    found = (cached(part, part.key("settled", account, first), read) for part in parts(start, end))
    return sum(found, Decimal(0))


def period_of(starts: Sequence[datetime]) -> Case:
    """Expression for the number, from 0 on, of the period in which a charge was made.

    ``starts`` are the beginnings of the periods, the earliest first. Comparisons are faster than truncating
    dates, for which SQLite calls a Python function per row.
    """
    numbered: list[Any] = [
        When(created_at__gte=start, then=Value(number)) for number, start in enumerate(starts)
    ]
    return Case(*reversed(numbered), output_field=IntegerField())
