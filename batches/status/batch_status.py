"""The status of batches, and what holds all batches of an account: a suspension or a reached budget.

A batch that is held says so (status Error with that cause) until the hold ends; no fault of its storage
hides it, and no good poll takes it away.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from batches import webhooks
from batches.billing import budget
from batches.models import Batch, Task
from batches.models.batch import BatchQuerySet
from batches.tasks.leases import Cause
from batches.webhooks.events import BatchRecovered, BatchTurnedToError, BudgetReached
from speechportal.accounts.models import Account

SUSPENDED = "account_suspended"
BUDGET = "budget_reached"
HELD = (SUSPENDED, BUDGET)

_NORMAL = {"status": Batch.Status.NORMAL, "cause_code": "", "cause": "", "cause_details": {}}


def set_error(batch_id: int, cause: Cause) -> None:
    """The batch cannot go on until somebody mends the cause."""
    _tell(Batch.unscoped.live().filter(pk=batch_id).exclude(cause_code__in=HELD), cause)


def set_normal(batch_id: int) -> None:
    _recover(_in_error(batch_id))


def after_good_look(batch_id: int) -> None:
    """The input path could be listed: that mends whatever does not hold tasks up further on."""
    waiting = Task.unscoped.filter(batch=batch_id, state=Task.State.WAITING)
    _recover(_in_error(batch_id).filter(~Exists(waiting.filter(error_code=OuterRef("cause_code")))))


def _in_error(batch_id: int) -> BatchQuerySet:
    return Batch.unscoped.filter(pk=batch_id, status=Batch.Status.ERROR).exclude(cause_code__in=HELD)


def _tell(batches: BatchQuerySet, cause: Cause) -> int:
    """Turn batches to Error and announce it; returns how many did not say so before."""
    changing = batches.exclude(status=Batch.Status.ERROR, cause_code=cause.code, cause=cause.message)
    with transaction.atomic():
        announced = _with_webhook(changing)
        told = changing.update(
            status=Batch.Status.ERROR, cause_code=cause.code, cause=cause.message, cause_details=cause.details
        )
        for batch in announced:
            batch.cause_code, batch.cause = cause.code, cause.message
            webhooks.announce(batch, BatchTurnedToError(batch.uid, cause.code, cause.message))
    return told


def _recover(batches: BatchQuerySet, **values: Any) -> None:
    """Turn batches to Normal and announce it."""
    if not batches.exists():  # As nearly always: each poll asks.
        return
    with transaction.atomic():
        announced = _with_webhook(batches)
        batches.update(**_NORMAL, **values)
        for batch in announced:
            webhooks.announce(batch, BatchRecovered(batch.uid, batch.cause_code, batch.cause))


def _with_webhook(batches: BatchQuerySet) -> list[Batch]:
    """Those of the batches that have a webhook, locked, as they are before their status changes."""
    hooked = batches.exclude(webhook_url="").select_related("account").order_by("pk")
    return list(hooked.select_for_update(of=("self",), no_key=True))


def suspend(account: Account) -> None:
    """Nothing of the account is polled or started any more; what is in progress ends."""
    with transaction.atomic():
        Account.objects.filter(pk=account.pk, suspended_at=None).update(suspended_at=timezone.now())
        _hold_suspended(account.pk)
    account.refresh_from_db(fields=["suspended_at"])


def unsuspend(account: Account) -> None:
    with transaction.atomic():
        Account.objects.filter(pk=account.pk).update(suspended_at=None)
        held = Batch.unscoped.live().filter(account=account, cause_code=SUSPENDED)
        _recover(held, next_poll_at=timezone.now())
    account.refresh_from_db(fields=["suspended_at"])


def _hold_suspended(account_id: int) -> None:
    cause = Cause(SUSPENDED, "Support staff have suspended the account.", {})
    _tell(Batch.unscoped.live().filter(account=account_id), cause)


def hold_for_budget(account: Account) -> None:
    """The next file would exceed the account's budget."""
    cause = Cause(
        BUDGET,
        "The account's monthly budget is reached.",
        {"budget": str(account.monthly_budget), "currency": account.currency},
    )
    with transaction.atomic():
        told = _tell(Batch.unscoped.live().filter(account=account).exclude(cause_code=SUSPENDED), cause)
        if told and account.monthly_budget is not None:
            month = f"{budget.month_start(timezone.now()):%Y-%m}"
            reached = BudgetReached(account, month, account.monthly_budget, budget.spent(account))
            webhooks.announce_to_account(account, reached)


def reconcile() -> None:
    """Bring the batches in line with their accounts: staff edit accounts, budgets are raised, months turn."""
    live = Batch.unscoped.live()
    for account_id in set(
        live.filter(account__suspended_at__isnull=False)
        .exclude(cause_code=SUSPENDED)
        .values_list("account", flat=True)
    ):
        _hold_suspended(account_id)
    _recover(live.filter(cause_code=SUSPENDED, account__suspended_at=None))
    for account in Account.objects.filter(Exists(live.filter(account=OuterRef("pk"), cause_code=BUDGET))):
        if budget.covers(account, account.price_per_file):
            _recover(live.filter(account=account, cause_code=BUDGET))
