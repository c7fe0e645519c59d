"""Monthly budget: what an account has spent and may still spend in this calendar month of its time zone.

The amount spent is the sum of the ledger, with adjustments, plus the reservations of tasks in progress. A
claim reserves its price while it locks the account's row (:mod:`batches.tasks.scheduling`), so that the
charges of a month never exceed the budget, however many workers start tasks at once.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from decimal import Decimal

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from batches.billing import settled
from batches.billing.money import MoneySum, Total
from batches.models import Adjustment, Charge, Task
from speechportal.accounts.models import Account

ZERO = Decimal(0)


def month_start(now: datetime, zone: tzinfo) -> datetime:
    return now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def spent(account: Account) -> Decimal:
    """Amount charged this month plus reservations of tasks in progress.

    Recent charges are read in one statement with the reservations, which turn into charges.
    """
    now = timezone.now()
    start = month_start(now, account.zone)
    newest = max(start, settled.edge(now))
    own = {"account": OuterRef("pk"), "currency": OuterRef("currency")}
    charges = Charge.unscoped.filter(**own, created_at__gte=newest)
    corrections = Adjustment.unscoped.filter(**own, charge__created_at__gte=start)
    running = Task.unscoped.filter(account=OuterRef("pk"), state__in=Task.LEASED)
    totals = Account.objects.annotate(
        charged=_total(charges, "amount"),
        corrected=_total(corrections, "amount"),
        set_aside=_total(running, "reserved"),
        first=Subquery(settled.oldest(Charge.unscoped.filter(account=OuterRef("pk"), created_at__gte=start))),
    )
    first, *amounts = totals.values_list("first", "charged", "corrected", "set_aside").get(pk=account.pk)
    return settled.amount(account, start, newest, first) + sum(amounts, ZERO)


def _total(rows: QuerySet[Charge] | QuerySet[Adjustment] | QuerySet[Task], field: str) -> Coalesce:
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
