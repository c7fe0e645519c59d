"""Every change of a task's state.

Each is one conditional update that names the state it leaves and the claimant's lease token. An update
that changes no row means that somebody else was first: the caller has lost its claim and must leave
without effect. What ends a task (finish, fail) is one transaction with its charge and its place in the
next execution result; both lock the batch's row first, so that counting to ten is exact.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from batches import execution_results
from batches.models import Batch, Charge, Task, Transcript
from speechportal.accounts.models import Account

State = Task.State
CLAIM_TRIES = 20
BACKOFF = [timedelta(seconds=seconds) for seconds in (10, 30, 60, 300, 900)]


class ClaimLost(Exception):
    """The lease ran out and the task went to somebody else, or it is gone: leave without effect."""


class CancelRequested(Exception):
    """The task is to be canceled: stop, then call :func:`confirm_cancel`."""


@dataclass(frozen=True)
class Claim:
    """The right to work on a task, as long as the lease lives."""

    task_id: int
    token: uuid.UUID

    @property
    def row(self) -> QuerySet[Task]:
        return Task.unscoped.filter(pk=self.task_id, lease_token=self.token)


@dataclass(frozen=True)
class Cause:
    """Why a task failed or has to wait, for people: a stable code, a sentence, and its variables."""

    code: str
    message: str
    details: dict[str, Any]


def claimable() -> QuerySet[Task]:
    return Task.unscoped.filter(state=State.WAITING, available_at__lte=timezone.now())


def claim_next(worker: str) -> Claim | None:
    """Claim the next task of the account that has least in progress, longest-waiting account first."""
    for _ in range(CLAIM_TRIES):
        task = _next_candidate()
        if task is None:
            return None
        if claim := _claim(task, worker):
            return claim
    return None


def _next_candidate() -> Task | None:
    leased = Task.unscoped.filter(account=OuterRef("pk"), state__in=Task.LEASED)
    running = leased.order_by().values("account").annotate(n=Count("pk")).values("n")
    account = (
        Account.objects.filter(Exists(claimable().filter(account=OuterRef("pk"))))
        .annotate(running=Coalesce(Subquery(running), 0))
        .order_by("running", F("last_claimed_at").asc(nulls_first=True), "pk")
        .first()
    )
    if account is None:
        return None
    return claimable().filter(account=account).select_related("batch__domain").order_by("pk").first()


def _claim(task: Task, worker: str) -> Claim | None:
    now, token = timezone.now(), uuid.uuid4()
    claimed_settings = task.settings or task.batch.recognition_settings()
    with transaction.atomic():
        claimed = Task.unscoped.filter(pk=task.pk, state=State.WAITING, available_at__lte=now).update(
            state=State.IN_PROGRESS,
            stage=Task.Stage.DOWNLOADING,
            progress=0,
            attempts=F("attempts") + 1,
            lease_token=token,
            lease_expires_at=now + timedelta(seconds=settings.LEASE_SECONDS),
            worker=worker,
            settings=claimed_settings,
            started_at=now,
        )
        if claimed:
            Account.objects.filter(pk=task.account_id).update(last_claimed_at=now)
    return Claim(task.pk, token) if claimed else None


def heartbeat(claim: Claim, stage: str, progress: int) -> None:
    """Extend the lease and show how far the work is (per cent of the whole task)."""
    alive = claim.row.filter(state=State.IN_PROGRESS).update(
        stage=stage,
        progress=progress,
        lease_expires_at=timezone.now() + timedelta(seconds=settings.LEASE_SECONDS),
    )
    if not alive:
        raise _why_lost(claim)


def _why_lost(claim: Claim) -> Exception:
    return CancelRequested() if claim.row.filter(state=State.CANCELING).exists() else ClaimLost()


def checkpoint(claim: Claim, document: dict[str, Any], stage: str, media_duration: int) -> None:
    """Keep what recognition has found so far, so that nothing after it can lose it."""
    with transaction.atomic():
        if not claim.row.filter(state=State.IN_PROGRESS).update(media_duration=media_duration):
            raise _why_lost(claim)
        Transcript.unscoped.update_or_create(
            task_id=claim.task_id, defaults={"document": document, "stage": stage}
        )


def _final(now: Any) -> dict[str, Any]:
    """What every final state has in common."""
    return {
        "finished_at": now,
        "lease_token": None,
        "lease_expires_at": None,
        "stage": Task.Stage.QUEUED,
    }


def finish(claim: Claim) -> None:
    """The results are written: complete the task, charge it, report it. The input is moved afterwards."""
    with transaction.atomic():
        batch = _locked_batch(claim)
        now = timezone.now()
        finished = claim.row.filter(state=State.IN_PROGRESS).update(
            state=State.COMPLETED,
            progress=100,
            error_code="",
            error_message="",
            error_details={},
            move_due_at=now,
            **_final(now),
        )
        if not finished:
            raise _why_lost(claim)
        _charge(batch, Task.unscoped.select_related("account").get(pk=claim.task_id))
        _note_finished(batch, now)


def fail(claim: Claim, cause: Cause) -> None:
    """The file cannot be recognised: say why, report it, and have the input moved aside."""
    with transaction.atomic():
        batch = _locked_batch(claim)
        if not _fail(claim.row.filter(state=State.IN_PROGRESS), cause):
            raise _why_lost(claim)
        _note_finished(batch, timezone.now())


def _fail(rows: QuerySet[Task], cause: Cause) -> int:
    now = timezone.now()
    return rows.update(
        state=State.FAILED,
        error_code=cause.code,
        error_message=cause.message,
        error_details=cause.details,
        move_due_at=now,
        **_final(now),
    )


def _locked_batch(claim: Claim) -> Batch:
    batch_id = Task.unscoped.values_list("batch_id", flat=True).get(pk=claim.task_id)
    return Batch.unscoped.select_for_update().get(pk=batch_id)


def _charge(batch: Batch, task: Task) -> None:
    # A task that was charged once, and is retried, is not charged again.
    Charge.unscoped.get_or_create(
        task=task,
        defaults={
            "account": task.account,
            "batch": batch,
            "batch_name": batch.name,
            "domain_code": (task.settings or {}).get("domain", ""),
            "input_name": task.name,
            "media_duration": task.media_duration or 0,
            "amount": task.account.price_per_file,
            "currency": task.account.currency,
        },
    )


def _note_finished(batch: Batch, now: Any) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(last_finished_at=now)
    execution_results.collect(batch, at_least=settings.TASKS_PER_EXECUTION_RESULT)


def release(claim: Claim, cause: Cause | None, *, count_attempt: bool) -> None:
    """Hand the task back, to be claimed again by whoever comes.

    With a ``cause`` it waits first, longer each time it is held up. ``count_attempt`` is for faults that the
    task itself may have caused; a fault of the storage or an orderly stop does not count.
    """
    task = claim.row.filter(state=State.IN_PROGRESS).first()
    if task is None:
        raise _why_lost(claim)
    attempts = task.attempts if count_attempt else max(task.attempts - 1, 0)
    delays = task.delays + 1 if cause else 0
    delay = BACKOFF[min(delays, len(BACKOFF)) - 1] if cause else timedelta(0)
    released = claim.row.filter(state=State.IN_PROGRESS).update(
        state=State.WAITING,
        stage=Task.Stage.QUEUED,
        progress=0,
        attempts=attempts,
        delays=delays,
        available_at=timezone.now() + delay,
        lease_token=None,
        lease_expires_at=None,
        error_code=cause.code if cause else "",
        error_message=cause.message if cause else "",
        error_details=cause.details if cause else {},
    )
    if not released:
        raise _why_lost(claim)


def confirm_cancel(claim: Claim) -> None:
    """The claimant of a task in CANCELING has stopped."""
    claim.row.filter(state=State.CANCELING).update(state=State.CANCELED, **_final(timezone.now()))


def cancel(tasks: QuerySet[Task]) -> int:
    """Cancel what has not ended: waiting tasks at once, running ones as soon as their worker notices."""
    now = timezone.now()
    waiting = tasks.filter(state=State.WAITING).update(state=State.CANCELED, **_final(now))
    running = tasks.filter(state=State.IN_PROGRESS).update(state=State.CANCELING)
    return waiting + running


def cancel_all(batch: Batch) -> int:
    return cancel(Task.unscoped.filter(batch=batch))


def reap() -> int:
    """Free the tasks of workers that died: their lease ran out. Too many deaths fail the task."""
    expired = Task.unscoped.filter(state__in=Task.LEASED, lease_expires_at__lt=timezone.now())
    reaped = 0
    for task in expired.order_by("lease_expires_at")[:1000]:
        if task.lease_token is not None:
            reaped += _reap(task, Claim(task.pk, task.lease_token))
    return reaped


def _reap(task: Task, claim: Claim) -> int:
    late = claim.row.filter(lease_expires_at__lt=timezone.now())
    if task.state == State.CANCELING:
        return late.update(state=State.CANCELED, **_final(timezone.now()))
    cause = Cause(
        "worker_died",
        f"The worker that recognised this file ended without a word ({task.attempts} times).",
        {"attempts": task.attempts},
    )
    if task.attempts < settings.MAX_ATTEMPTS:
        return late.filter(state=State.IN_PROGRESS).update(
            state=State.WAITING,
            stage=Task.Stage.QUEUED,
            progress=0,
            available_at=timezone.now(),
            lease_token=None,
            lease_expires_at=None,
            error_code=cause.code,
            error_message=cause.message,
            error_details=cause.details,
        )
    with transaction.atomic():
        batch = _locked_batch(claim)
        failed = _fail(late.filter(state=State.IN_PROGRESS), cause)
        if failed:
            _note_finished(batch, timezone.now())
    return failed


def retry(tasks: QuerySet[Task]) -> int:
    """Let failed tasks run again, with the batch's present settings and a fresh count of attempts.

    An input that was moved aside is read from there. The new outcome goes into a later execution result;
    a task whose failure is in a file that is not written yet has to wait for that.
    """
    retried = 0
    failed = tasks.filter(state=State.FAILED, batch__deleted_at__isnull=True)
    for task in failed.filter(Q(execution_result=None) | Q(execution_result__written_at__isnull=False)):
        moved = task.moved_at is not None
        retried += Task.unscoped.filter(pk=task.pk, state=State.FAILED, moved_at=task.moved_at).update(
            state=State.WAITING,
            attempts=0,
            delays=0,
            available_at=timezone.now(),
            finished_at=None,
            settings=None,
            execution_result=None,
            input_key=task.moved_key if moved else task.input_key,
            input_version=task.moved_version if moved else task.input_version,
            moved_key="",
            moved_version="",
            moved_at=None,
            move_due_at=None,
            move_attempts=0,
            error_code="",
            error_message="",
            error_details={},
        )
    return retried


def set_error(batch_id: int, cause: Cause) -> None:
    """The batch cannot go on until somebody mends the cause."""
    Batch.unscoped.filter(pk=batch_id, deleted_at__isnull=True).exclude(
        status=Batch.Status.ERROR, cause_code=cause.code, cause=cause.message
    ).update(
        status=Batch.Status.ERROR,
        cause_code=cause.code,
        cause=cause.message,
        cause_details=cause.details,
    )


def set_normal(batch_id: int) -> None:
    Batch.unscoped.filter(pk=batch_id, status=Batch.Status.ERROR).update(
        status=Batch.Status.NORMAL, cause_code="", cause="", cause_details={}
    )
