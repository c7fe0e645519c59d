"""Whose file comes next.

The account that has least in progress comes first, and among equals the one that has waited longest since
its latest start; within an account the batch of the highest priority, and in it the oldest task. Claims of
one account take turns at its row, where the price of the file is set aside from the account's budget.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from batches import budget, faults, holding
from batches.claim import Claim
from batches.models import Batch, Charge, Task
from batches.models.batch import BatchQuerySet
from speechportal.accounts.models import Account

State = Task.State
CLAIM_TRIES = 20
PROBE = timedelta(seconds=60)  # How often one task of a batch in back-off is tried.


def ready_batches(now: datetime) -> BatchQuerySet:
    """Batches whose tasks may start."""
    held = Q(cause_code__in=holding.HELD) | Q(held_until__gt=now)
    return (
        Batch.unscoped.live()
        .filter(~Exists(faults.blocked(now).filter(connection=OuterRef("connection"))), paused_at=None)
        .filter(account__suspended_at=None)
        .exclude(held)
    )


def _waiting(now: datetime, waited: timedelta = timedelta(0)) -> QuerySet[Task]:
    # A task may have been found under a connection that its batch has since left.
    blocked = faults.blocked(now).filter(connection=OuterRef("connection"))
    available = Task.unscoped.filter(state=State.WAITING, available_at__lte=now - waited)
    return available.filter(~Exists(blocked)).order_by("pk")


def claimable() -> QuerySet[Task]:
    """Everything that a free worker could start now."""
    now = timezone.now()
    return _waiting(now).filter(batch__in=ready_batches(now))


def claim_next(worker: str, waited: timedelta = timedelta(0)) -> Claim | None:
    """Claim the next task for ``worker``; ``None`` when nothing may start that has ``waited`` so long."""
    for _ in range(CLAIM_TRIES):
        account_id = _next_account(waited)
        if account_id is None:
            return None
        if claim := _claim_of(account_id, worker, waited):
            return claim
    return None


def _next_account(waited: timedelta) -> int | None:
    now = timezone.now()
    waiting = Exists(_waiting(now, waited).filter(batch=OuterRef("pk")))
    ready = ready_batches(now).filter(waiting, account=OuterRef("pk"))
    leased = Task.unscoped.filter(account=OuterRef("pk"), state__in=Task.LEASED)
    running = leased.order_by().values("account").annotate(n=Count("pk")).values("n")
    return (
        Account.objects.filter(Exists(ready), suspended_at=None)
        .annotate(running=Coalesce(Subquery(running), 0))
        .order_by("running", F("last_claimed_at").asc(nulls_first=True), "pk")
        .values_list("pk", flat=True)
        .first()
    )


def _claim_of(account_id: int, worker: str, waited: timedelta) -> Claim | None:
    """Claim the account's next task; ``None`` when there is none any more, or no budget for it."""
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        task = _next_task(account, waited)
        if task is None:
            return None
        price = _price(account, task)
        if not budget.covers(account, price):
            holding.hold_for_budget(account)
            return None
        return _take(task, price, worker)


def _next_task(account: Account, waited: timedelta) -> Task | None:
    now = timezone.now()
    oldest = Subquery(_waiting(now, waited).filter(batch=OuterRef("pk")).values("pk")[:1])
    batches = ready_batches(now).filter(account=account).annotate(oldest=oldest)
    task_id = (
        batches.filter(oldest__isnull=False)
        .order_by("-priority", "oldest")
        .values_list("oldest", flat=True)
        .first()
    )
    if task_id is None:
        return None
    return Task.unscoped.select_related("batch__domain").get(pk=task_id)


def _price(account: Account, task: Task) -> Decimal:
    """A task that was charged, and is retried, is not charged again."""
    charged = Charge.unscoped.filter(task=task).exists()
    return budget.ZERO if charged else account.price_per_file


def _take(task: Task, price: Decimal, worker: str) -> Claim | None:
    now, token = timezone.now(), uuid.uuid4()
    taken = Task.unscoped.filter(pk=task.pk, state=State.WAITING, available_at__lte=now).update(
        state=State.IN_PROGRESS,
        stage=Task.Stage.DOWNLOADING,
        progress=0,
        attempts=F("attempts") + 1,
        lease_token=token,
        lease_expires_at=now + timedelta(seconds=settings.LEASE_SECONDS),
        worker=worker,
        settings=task.settings or task.recognition_settings(),
        reserved=price,
        started_at=now,
    )
    if not taken:
        return None
    Account.objects.filter(pk=task.account_id).update(last_claimed_at=now)
    if task.batch.held_until is not None:
        Batch.unscoped.filter(pk=task.batch_id).update(held_until=now + PROBE)
    faults.admit(task.connection_id)
    return Claim(task.pk, token)
