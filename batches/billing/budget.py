"""Monthly budget: what an account has spent and may still spend in this calendar month of its time zone.

The amount spent is the sum of the ledger, with adjustments, plus the reservations of tasks in progress. A
claim reserves its price while it locks the account's row (:mod:`batches.tasks.scheduling`), so that the
charges of a month never exceed the budget, however many workers start tasks at once.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from batches.billing import settled
from batches.billing.money import MoneySum, Total
from batches.models import Adjustment, Charge, SettledUsage, Task
from speechportal.accounts.models import Account

ZERO = Decimal(0)


def month_start(now: datetime, zone: tzinfo) -> datetime:
    return now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def spent(account: Account) -> Decimal:
    """Amount charged this month plus reservations of tasks in progress.

    Charges that are not settled are read in one statement with the reservations, which turn into charges.
    """
    start = month_start(timezone.now(), account.zone)
    quarters = SettledUsage.unscoped.filter(
        settled.of_currency(), created_at__gte=start, created_at__lt=OuterRef("usage_mark__until")
    )
    marked = Account.objects.annotate(settled=_total(quarters, "amount"))
    until, added_up = marked.values_list("usage_mark__until", "settled").get(pk=account.pk)
    newest = max(filter(None, (start, until)))
    own = settled.of_currency()
    charges = Charge.unscoped.filter(own, created_at__gte=newest)
    corrections = Adjustment.unscoped.filter(own, charge__created_at__gte=start)
    running = Task.unscoped.filter(account=OuterRef("pk"), state__in=Task.LEASED)
    totals = Account.objects.annotate(
        charged=_total(charges, "amount"),
        corrected=_total(corrections, "amount"),
        set_aside=_total(running, "reserved"),
    )
    amounts = totals.values_list("charged", "corrected", "set_aside").get(pk=account.pk)
    return sum(amounts, Decimal(added_up))


def _total(rows: QuerySet[Any], field: str) -> Coalesce:
    total = rows.order_by().values("account").annotate(total=MoneySum(field)).values("total")
    return Coalesce(Subquery(total), ZERO, output_field=Total(max_digits=28, decimal_places=4))


def left(account: Account) -> Decimal | None:
    """Remaining budget of the month; ``None`` without a budget. Negative after the budget was lowered."""
    if account.monthly_budget is None:
        return None
    return account.monthly_budget - spent(account)


def covers(account: Account, price: Decimal) -> bool:
    rest = left(account)
    return rest is None or price <= rest
