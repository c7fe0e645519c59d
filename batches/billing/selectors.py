"""Selectors of charges: totals by month, and the charges of one month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from django.core.cache import cache
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.utils import timezone

from batches.billing import budget, settled
from batches.models import Charge
from speechportal.accounts.models import Account

KEPT_FOR = 6 * 3600  # seconds


class Month(TypedDict):
    month: datetime
    currency: str
    files: int
    duration: int  # ms
    amount: Decimal


def charges_by_month(account: Account) -> list[Month]:
    """Totals by month and currency, newest first; months begin in the account's time zone.

    The totals of settled months are cached for a few hours, as long as the first charge stays the same.
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
    if missing := [month for month in months if month not in known]:
        read = _read_months(account, [month for month in months if month >= missing[0]])
        known |= read
        cache.set_many({key: read[month] for month, key in keys.items() if month in read}, KEPT_FOR)
    return [row for month in reversed(months) for row in known[month]]


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


def _read_months(account: Account, months: list[datetime]) -> dict[datetime, list[Month]]:
    """Totals by month and currency of these consecutive months."""
    rows = settled.sources(account, months[0], next_month(months[-1]))
    totals: dict[tuple[datetime, str], Month] = {}
    for row in rows.sums(settled.period_of(months), "currency"):
        month, currency = months[row["period"]], row["currency"]
        empty = Month(month=month, currency=currency, files=0, duration=0, amount=Decimal(0))
        total = totals.setdefault((month, currency), empty)
        total["files"] += row["files"]
        total["duration"] += row["duration"]
        total["amount"] += row["amount"]
    found: dict[datetime, list[Month]] = {month: [] for month in months}
    for month, currency in sorted(totals):
        found[month].append(totals[month, currency])
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
