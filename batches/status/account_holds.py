"""Account holds: a suspension by staff or a reached budget, which stops all batches of an account."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from batches.billing import budget
from batches.models import Batch
from batches.status import batch_status, failures
from batches.status.failures import ACCOUNT_SUSPENDED, BUDGET_REACHED
from batches.webhooks import outbox
from batches.webhooks.events import BudgetReached
from speechportal.accounts.models import Account


def suspend(account: Account) -> None:
    """Stop polling the account's batches and starting its tasks; tasks in progress end."""
    with transaction.atomic():
        Account.objects.filter(pk=account.pk, suspended_at=None).update(suspended_at=timezone.now())
        _hold_suspended(account.pk)
    account.refresh_from_db(fields=["suspended_at"])


def unsuspend(account: Account) -> None:
    """Poll the account's batches and start its tasks again."""
    with transaction.atomic():
        Account.objects.filter(pk=account.pk).update(suspended_at=None)
        held = Batch.unscoped.live().filter(account=account, cause_code=ACCOUNT_SUSPENDED)
        batch_status.recover(held, next_poll_at=timezone.now())
    account.refresh_from_db(fields=["suspended_at"])


def _hold_suspended(account_id: int) -> None:
    batches = Batch.unscoped.live().filter(account=account_id)
    batch_status.announce_error(batches, failures.failure(ACCOUNT_SUSPENDED))


def hold_for_budget(account: Account) -> None:
    """Put the account's batches in Error: its next file would exceed the monthly budget."""
    failure = failures.failure(BUDGET_REACHED, budget=str(account.monthly_budget), currency=account.currency)
    batches = Batch.unscoped.live().filter(account=account).exclude(cause_code=ACCOUNT_SUSPENDED)
    with transaction.atomic():
        changed = batch_status.announce_error(batches, failure)
        if changed and account.monthly_budget is not None:
            month = f"{budget.month_start(timezone.now(), account.zone):%Y-%m}"
            reached = BudgetReached(account, month, account.monthly_budget, budget.spent(account))
            outbox.announce_to_account(account, reached)


def reconcile() -> None:
    """Update the holds of batches after changes of accounts and budgets, and at the start of a month."""
    live = Batch.unscoped.live()
    for account_id in set(
        live.filter(account__suspended_at__isnull=False)
        .exclude(cause_code=ACCOUNT_SUSPENDED)
        .values_list("account", flat=True)
    ):
        _hold_suspended(account_id)
    batch_status.recover(live.filter(cause_code=ACCOUNT_SUSPENDED, account__suspended_at=None))
    for account in Account.objects.filter(
        Exists(live.filter(account=OuterRef("pk"), cause_code=BUDGET_REACHED))
    ):
        if budget.covers(account, account.price_per_file):
            batch_status.recover(live.filter(account=account, cause_code=BUDGET_REACHED))
