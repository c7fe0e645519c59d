"""Whose file comes next.

An account that has not been at work lately has ``TURNS`` turns ahead of the others: its first files are next,
however many files wait elsewhere and however few workers there are. A turn that was used comes back after
``TURN_COMES_BACK`` (a leaky bucket, kept as one time), so that an account that is always busy has none. Among
equals the account that has least in progress comes first, and then the one that has waited longest since its
latest start; within an account the batch of the highest priority, and in it the oldest task. Claims of one
account are made one after the other, at its row, where the price of the file is set aside from its budget.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from batches.billing import budget
from batches.models import Batch, Charge, Task
from batches.models.batch import BatchQuerySet
from batches.status import account_holds, batch_status, connection_backoff
from batches.tasks.leases import Lease
from speechportal.accounts.models import Account

State = Task.State
CLAIM_TRIES = 20
TURNS = 3
TURN_COMES_BACK = timedelta(minutes=10)
PROBE = timedelta(seconds=60)  # How often one task of a batch in back-off is tried.


def ready_batches(now: datetime) -> BatchQuerySet:
    """Batches whose tasks may start."""
    held = Q(cause_code__in=batch_status.HELD) | Q(held_until__gt=now)
    return (
        Batch.unscoped.live()
        .filter(
            ~Exists(connection_backoff.blocked(now).filter(connection=OuterRef("connection"))), paused_at=None
        )
        .filter(account__suspended_at=None)
        .exclude(held)
    )


def _waiting(now: datetime, waited: timedelta = timedelta(0)) -> QuerySet[Task]:
    # A task may have been found under a connection that its batch has since left.
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    available = Task.unscoped.filter(state=State.WAITING, available_at__lte=now - waited)
    return available.filter(~Exists(blocked)).order_by("pk")


def claimable() -> QuerySet[Task]:
    """Everything that a free worker could start now."""
    now = timezone.now()
    return _waiting(now).filter(batch__in=ready_batches(now))


def claim_next(worker: str, waited: timedelta = timedelta(0)) -> Lease | None:
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
    used_up = Q(turns_used_until__gt=now + (TURNS - 1) * TURN_COMES_BACK)
    return (
        Account.objects.filter(Exists(ready), suspended_at=None)
        .annotate(
            running=Coalesce(Subquery(running), 0),
            without_turn=Case(When(used_up, then=1), default=0, output_field=IntegerField()),
        )
        .order_by("without_turn", "running", F("last_claimed_at").asc(nulls_first=True), "pk")
        .values_list("pk", flat=True)
        .first()
    )


def _claim_of(account_id: int, worker: str, waited: timedelta) -> Lease | None:
    """Claim the account's next task; ``None`` when there is none any more, or no budget for it."""
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
        task = _next_task(account, waited)
        if task is None:
            return None
        price = _price(account, task)
        if not budget.covers(account, price):
            account_holds.hold_for_budget(account)
            return None
        return _take(task, account, price, worker)


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


def _turns_used_until(account: Account, now: datetime) -> datetime:
    """After one more start."""
    used = max(account.turns_used_until or now, now) + TURN_COMES_BACK
    return min(used, now + TURNS * TURN_COMES_BACK)


def _take(task: Task, account: Account, price: Decimal, worker: str) -> Lease | None:
    now, token = timezone.now(), uuid.uuid4()
    taken = Task.unscoped.filter(pk=task.pk, state=State.WAITING, available_at__lte=now).update(
        state=State.IN_PROGRESS,
        stage=Task.Stage.DOWNLOADING,
        progress=0,
        attempts=F("attempts") + 1,
        lease_token=token,
        lease_expires_at=now + timedelta(seconds=settings.LEASE_SECONDS),
        worker=worker,
        settings=task.settings or task.current_settings(),
        reserved=price,
        started_at=now,
    )
    if not taken:
        return None
    Account.objects.filter(pk=account.pk).update(
        last_claimed_at=now, turns_used_until=_turns_used_until(account, now)
    )
    if task.batch.held_until is not None:
        Batch.unscoped.filter(pk=task.batch_id).update(held_until=now + PROBE)
    connection_backoff.admit(task.connection_id)
    return Lease(task.pk, token)
