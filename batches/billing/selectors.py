"""Selectors of charges: by month, and those of one month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, cast

from django.core.cache import cache
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from batches.billing import budget, settled
from batches.billing.money import MoneySum
from batches.models import Charge
from speechportal.accounts.models import Account


class Month(TypedDict):
    month: datetime
    currency: str
    files: int
    duration: int  # ms
    amount: Decimal


def charges_by_month(account: Account) -> list[Month]:
    """Totals by month and currency, newest first; months begin in the account's time zone.

    The totals of months that are settled are read once in a process.
    """
    months = _months(account)
    last_settled = settled.edge(timezone.now())
    keys = {
        month: f"month:{account.uid}:{account.time_zone}:{month:%Y-%m}"
        for month in months
        if next_month(month) <= last_settled
    }
    cached: dict[str, list[Month]] = cache.get_many(keys.values())
    known = {month: cached[key] for month, key in keys.items() if key in cached}
    missing = [month for month in months if month not in known]
    if missing:
        read = _read_months(account, [month for month in months if month >= missing[0]])
        known |= read
        cache.set_many({keys[month]: rows for month, rows in read.items() if month in keys}, settled.KEPT_FOR)
    return [row for month in reversed(months) for row in known[month]]


def _months(account: Account) -> list[datetime]:
    """The months from the first charge to the last, the earliest first."""
    times = Charge.objects.for_account(account).order_by("created_at").values_list("created_at", flat=True)
    first, last = times.first(), times.last()
    if first is None or last is None:
        return []
    months = [budget.month_start(first, account.zone)]
    while (following := next_month(months[-1])) <= last:
        months.append(following)
    return months


def _read_months(account: Account, months: list[datetime]) -> dict[datetime, list[Month]]:
    """Totals of months that follow each other."""
    rows = (
        Charge.objects.for_account(account)
        .filter(created_at__gte=months[0], created_at__lt=next_month(months[-1]))
        .order_by()
        .annotate(period=settled.period_of(months))
        .values("period", "currency")
        .annotate(files=Count("pk"), duration=Sum("media_duration"), amount=MoneySum("amount"))
        .order_by("currency")
    )
    found: dict[datetime, list[Month]] = {month: [] for month in months}
    for row in rows:
        values: dict[str, Any] = dict(row)
        month = months[values.pop("period")]
        found[month].append(cast("Month", {"month": month, **values}))
    return found


def charges_in(account: Account, month: datetime) -> QuerySet[Charge]:
    """The charges of the month that begins at ``month`` (aware, in the account's time zone)."""
    charges = Charge.objects.for_account(account).select_related("task", "batch")
    in_month = charges.filter(created_at__gte=month, created_at__lt=next_month(month))
    return in_month.order_by("-created_at", "-pk")  # as the index of account and time has them


def next_month(month: datetime) -> datetime:
    year, number = (month.year + 1, 1) if month.month == 12 else (month.year, month.month + 1)
    return datetime(year, number, 1, tzinfo=month.tzinfo)
