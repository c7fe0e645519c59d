"""Selectors of charges: totals by month, and the charges of one month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, cast

from django.core.cache import cache
from django.core.paginator import Page, Paginator
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

    The totals of settled months, and of the settled part of the current month, are cached.
    """
    months, first = _months(account)
    last_settled = settled.edge(timezone.now())
    keys = {
        month: f"month:{account.uid}:{account.time_zone}:{month:%Y-%m}:{first}"
        for month in months
        if next_month(month) <= last_settled
    }
    cached: dict[str, list[Month]] = cache.get_many(keys.values())
    known = {month: cached[key] for month, key in keys.items() if key in cached}
    missing = [month for month in keys if month not in known]
    if missing:
        wanted = [month for month in keys if month >= missing[0]]
        read = _read_months(account, wanted, settled.Part(wanted[0], next_month(wanted[-1]), is_settled=True))
        known |= read
        cache.set_many({keys[month]: rows for month, rows in read.items()}, settled.KEPT_FOR)
    for month in months[len(keys) :]:
        known[month] = _open_month(account, month, first)
    return [row for month in reversed(months) for row in known[month]]


def _open_month(account: Account, month: datetime, first: int) -> list[Month]:
    """Totals by currency of a month that may still get charges."""

    def read(part: settled.Part) -> list[Month]:
        return _read_months(account, [month], part)[month]

    totals: dict[str, Month] = {}
    for part in settled.parts(month, next_month(month)):
        for row in settled.cached(part, part.key("month", account, first), read):
            total = totals.setdefault(
                row["currency"], {**row, "files": 0, "duration": 0, "amount": Decimal(0)}
            )
            total["files"] += row["files"]
            total["duration"] += row["duration"]
            total["amount"] += row["amount"]
    return [totals[currency] for currency in sorted(totals)]


def _months(account: Account) -> tuple[list[datetime], int]:
    """Months from the first charge to the last, the earliest first, and the first charge's primary key."""
    charges = Charge.objects.for_account(account).order_by("created_at").values_list("created_at", "pk")
    first, last = charges.first(), charges.last()
    if first is None or last is None:
        return [], 0
    months = [budget.month_start(first[0], account.zone)]
    while (following := next_month(months[-1])) <= last[0]:
        months.append(following)
    return months, first[1]


def _read_months(account: Account, months: list[datetime], part: settled.Part) -> dict[datetime, list[Month]]:
    """Totals by month of the charges in a part of these consecutive months."""
    rows = (
        part.charges(account)
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
    """Charges of the month that begins at ``month`` (aware, in the account's time zone)."""
    charges = Charge.objects.for_account(account).select_related("task", "batch")
    in_month = charges.filter(created_at__gte=month, created_at__lt=next_month(month))
    return in_month.order_by("-created_at", "-pk")  # the order of the index of account and time


class ChargePages(Paginator[Charge]):
    """Paginator of ``count`` charges; late pages are read from the end, since the cost of an offset grows."""

    def __init__(self, charges: QuerySet[Charge], per_page: int, count: int) -> None:
        super().__init__(charges, per_page)
        self._charges = charges
        self.__dict__["count"] = count  # in place of the cached property, which would count the rows

    def page(self, number: int | str) -> Page[Charge]:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        end = min(start + self.per_page, self.count)
        if start <= self.count // 2:
            return Page(list(self._charges[start:end]), number, self)
        rows = list(self._charges.reverse()[self.count - end : self.count - start])
        return Page(rows[::-1], number, self)


def next_month(month: datetime) -> datetime:
    year, number = (month.year + 1, 1) if month.month == 12 else (month.year, month.month + 1)
    return datetime(year, number, 1, tzinfo=month.tzinfo)
