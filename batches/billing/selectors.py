"""Selectors of charges: by month, and those of one month."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypedDict, cast

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncMonth

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
    """Totals by month and currency, newest first; months begin in the account's time zone."""
    months = (
        Charge.objects.for_account(account)
        .order_by()
        .annotate(month=TruncMonth("created_at", tzinfo=account.zone))
        .values("month", "currency")
        .annotate(files=Count("pk"), duration=Sum("media_duration"), amount=MoneySum("amount"))
        .order_by("-month", "currency")
    )
    return cast("list[Month]", list(months))


def charges_in(account: Account, month: datetime) -> QuerySet[Charge]:
    """The charges of the month that begins at ``month`` (aware, in the account's time zone)."""
    charges = Charge.objects.for_account(account).select_related("task", "batch")
    return charges.filter(created_at__gte=month, created_at__lt=next_month(month)).order_by("-pk")


def next_month(month: datetime) -> datetime:
    year, number = (month.year + 1, 1) if month.month == 12 else (month.year, month.month + 1)
    return datetime(year, number, 1, tzinfo=month.tzinfo)
