"""Task lifecycle: every change of a task's state.

Each is one conditional update that names the state it leaves and the claimant's lease token. An update that
changes no row means that another process was first: the caller has lost its lease and must stop without
effect. A task ends (finish, fail) in one transaction with its charge and its entry in the next execution
result; both lock the batch's row first, so that each execution result gets exactly ten tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from batches.models import Batch, Charge, StoredTranscript, StreamedSegments, Task, TaskAttempt
from batches.recognition.errors import HostExhausted
from batches.reports import execution_results
from batches.status import batch_status, failures
from batches.status.failures import Failure
from batches.tasks import attempts, fleet
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.webhooks import callbacks, outbox
from speechportal.platform import database_clock

State = Task.State
Outcome = TaskAttempt.Outcome
DELAYS = 10  # consecutive delays after which a fault may be the task's own: two hours
BACKOFF = [timedelta(seconds=seconds) for seconds in (10, 30, 60, 300, 900)]
NO_FAILURE: dict[str, Any] = {"error_code": "", "error_message": "", "error_details": {}}
UNCLAIMED: dict[str, Any] = {
    "lease_token": None,
    "lease_expires_at": None,
    "reserved": None,
    "stage": Task.Stage.QUEUED,
}


def heartbeat(claim: Lease, stage: str, progress: int) -> None:
    """Extend the lease and store the progress, in per cent of the whole task."""
    alive = claim.row.filter(state=State.IN_PROGRESS).update(
        stage=stage,
        progress=progress,
        lease_expires_at=database_clock.after(settings.LEASE_SECONDS),
    )
    if not alive:
        raise _why_lost(claim)


def _why_lost(claim: Lease) -> Exception:
    return CancelRequested() if claim.row.filter(state=State.CANCELLING).exists() else LeaseLost()


def checkpoint(
    claim: Lease, document: dict[str, Any], stage: str, media_duration: int, original: str = ""
) -> None:
    """Store the transcript so far, from which another attempt continues.

    ``document`` is the published transcript, ``original`` the recognised one, encrypted, if it differs.
    """
    with transaction.atomic():
        if not claim.row.filter(state=State.IN_PROGRESS).update(media_duration=media_duration):
            raise _why_lost(claim)
        StoredTranscript.unscoped.update_or_create(
            task_id=claim.task_id, defaults={"document": document, "stage": stage, "original": original}
        )


def stream(claim: Lease, position: int, segments: list[dict[str, Any]]) -> None:
    """Store final segments of a task that is being recognised, in place of those from ``position`` on."""
    with transaction.atomic():
        # Conditional on the lease, like a heartbeat; the row stays locked until the segments are stored.
        if not claim.row.filter(state=State.IN_PROGRESS).update(lease_token=claim.token):
            raise _why_lost(claim)
        StreamedSegments.unscoped.filter(task_id=claim.task_id, position__gte=position).delete()
        if segments:
            StreamedSegments.unscoped.create(task_id=claim.task_id, position=position, segments=segments)


def finish(claim: Lease) -> None:
    """Complete a task whose results are written: charge and report it. The input is moved afterwards."""
    with transaction.atomic():
        batch = _locked_batch(claim)
        running = claim.row.filter(state=State.IN_PROGRESS)
        reserved = running.values_list("reserved", flat=True).first()
        if not _end(batch, running, State.COMPLETED, progress=100, **NO_FAILURE):
            raise _why_lost(claim)
        _charge(batch, claim.task_id, reserved)


def fail(claim: Lease, failure: Failure) -> None:
    """Fail a task whose file cannot be recognised: store and report the reason; its input is moved aside."""
    with transaction.atomic():
        batch = _locked_batch(claim)
        if not _end(batch, claim.row.filter(state=State.IN_PROGRESS), State.FAILED, **_columns(failure)):
            raise _why_lost(claim)


def _end(batch: Batch, task: QuerySet[Task], state: str, **values: Any) -> bool:
    """Complete or fail a task in the caller's transaction, which holds the batch's row lock.

    ``task`` selects one row at most. Returns ``False`` if another process was first.
    """
    now, row = timezone.now(), _attempt_of(task)
    if not task.update(state=state, **_final(now), **values) or row is None:
        return False
    if state == State.FAILED:
        attempts.record(row, Outcome.FAILED, values)
    if state == State.COMPLETED and batch.held_until is not None:
        Batch.unscoped.filter(pk=batch.pk).update(held_until=None)
        batch_status.set_normal(batch.pk)
    _report_end(batch, row.pk, now)
    return True


def adopt(task: Task, values: dict[str, Any], store: Callable[[], None]) -> bool:
    """Complete a failed task whose result is in the storage; charge it unless charged, and report it again.

    ``store`` writes its transcript and result files, in the caller's transaction. Returns ``False`` if
    another process was first, or while the failure is still to be reported.
    """
    batch = Batch.unscoped.select_for_update(no_key=True).get(pk=task.batch_id)
    failed = Task.unscoped.filter(
        pk=task.pk, state=State.FAILED, finished_at=task.finished_at, move_due_at=None
    )
    if task.execution_result is not None and task.execution_result.written_at is None:
        return False
    now = timezone.now()
    ended: dict[str, Any] = {"state": State.COMPLETED, "progress": 100, "finished_at": now}
    afresh = {"execution_result": None, "acknowledged_at": None, "acknowledgement": ""}
    if not failed.update(**ended, **afresh, **NO_FAILURE, **values):
        return False
    store()
    _charge(batch, task.pk, None)
    _report_end(batch, task.pk, now)
    return True


def _report_end(batch: Batch, task_id: int, now: datetime) -> None:
    """Report the end of a task in execution results, webhooks and callbacks."""
    Batch.unscoped.filter(pk=batch.pk).update(last_finished_at=now)
    execution_results.collect(batch, at_least=settings.TASKS_PER_EXECUTION_RESULT)
    outbox.announce_task(batch, task_id)
    callbacks.queue_for(task_id)


def _attempt_of(task: QuerySet[Task]) -> Task | None:
    """Load the row that ``task`` selects, with the columns to record of its attempt; ``None`` if deleted."""
    return task.order_by().only("pk", "worker", "started_at").first()


def _final(now: datetime) -> dict[str, Any]:
    """Column values that every end of a claimed task has in common. The input is moved afterwards."""
    return {**UNCLAIMED, "finished_at": now, "move_due_at": now}


def _columns(failure: Failure) -> dict[str, Any]:
    return {
        "error_code": failure.code,
        "error_message": failure.message,
        "error_details": dict(failure.details),
    }


def _locked_batch(claim: Lease) -> Batch:
    batch_id = Task.unscoped.values_list("batch_id", flat=True).get(pk=claim.task_id)
    return Batch.unscoped.select_for_update(no_key=True).get(pk=batch_id)


def _charge(batch: Batch, task_id: int, reserved: Decimal | None) -> None:
    """Turn the reserved amount into a charge. A task that was charged before is not charged again."""
    task = Task.unscoped.select_related("account").get(pk=task_id)
    Charge.unscoped.get_or_create(
        task=task,
        defaults={
            "account": task.account,
            "batch": batch,
            "batch_name": batch.name,
            "domain_code": task.settings.domain if task.settings else "",
            "whisper_model": task.whisper_model,
            "speaker_model": task.speaker_model,
            "input_name": task.name,
            "media_duration": task.media_duration or 0,
            "amount": task.account.price_per_file if reserved is None else reserved,
            "currency": task.account.currency,
        },
    )


def release(claim: Lease, failure: Failure | None, *, count_attempt: bool) -> None:
    """Release a claimed task, so that any worker can claim it again.

    With a ``failure`` the task backs off, longer each time. ``count_attempt`` is for failures that the task
    itself may have caused; a storage error or an orderly stop does not count.
    """
    task = claim.row.filter(state=State.IN_PROGRESS).first()
    if task is None:
        raise _why_lost(claim)
    counted = task.attempts if count_attempt else max(task.attempts - 1, 0)
    delays = task.delays + 1 if failure else 0
    delay = BACKOFF[min(delays, len(BACKOFF)) - 1] if failure else timedelta(0)
    error = _columns(failure) if failure else NO_FAILURE
    with transaction.atomic():
        released = claim.row.filter(state=State.IN_PROGRESS).update(
            state=State.WAITING,
            progress=0,
            attempts=counted,
            delays=delays,
            available_at=timezone.now() + delay,
            **UNCLAIMED,
            **error,
        )
        if not released:
            raise _why_lost(claim)
        attempts.record(task, Outcome.RELEASED if failure else Outcome.STOPPED, error)


def confirm_cancel(claim: Lease) -> None:
    """Turn a task from CANCELLING to CANCELLED; called by its claimant once it has stopped."""
    _cancel(claim.row.filter(state=State.CANCELLING))


def _cancel(claimed: QuerySet[Task]) -> int:
    """Cancel the claimed task that ``claimed`` selects. Returns 0 if another process was first."""
    with transaction.atomic():
        row = _attempt_of(claimed)
        cancelled = claimed.update(state=State.CANCELLED, **_final(timezone.now()))
        if cancelled and row is not None:
            attempts.record(row, Outcome.CANCELLED)
    return cancelled


def cancel(tasks: QuerySet[Task]) -> int:
    """Cancel tasks that have not ended: waiting ones at once, running ones when their worker notices.

    A task may be claimed or released between two of the updates, so they repeat until none is left.
    """
    cancelled = 0
    while tasks.filter(cancellable()).exists():
        cancelled += tasks.filter(state=State.IN_PROGRESS).update(state=State.CANCELLING)
        cancelled += _cancel_waiting(tasks)
    return cancelled


def cancel_waiting(batch: Batch) -> int:
    return _cancel_waiting(Task.unscoped.filter(batch=batch))


def _cancel_waiting(tasks: QuerySet[Task]) -> int:
    waiting = tasks.filter(state=State.WAITING)
    return waiting.update(state=State.CANCELLED, finished_at=timezone.now(), **UNCLAIMED)


def cancel_all(batch: Batch) -> int:
    return cancel(Task.unscoped.filter(batch=batch))


def reap(*, outage: bool = False) -> int:
    """Release tasks whose lease expired, since their worker died. Too many deaths fail the task.

    After an ``outage`` of the database, or of all machines, no attempt counts: a lease that nobody could
    renew says nothing about the file. Nor does it where a host had no memory left.
    """
    expired = Task.unscoped.filter(state__in=Task.LEASED, lease_expires_at__lt=database_clock.after())
    reaped = 0
    for task in expired.order_by("lease_expires_at")[:1000]:
        if task.lease_token is not None:
            reaped += _reap(task, Lease(task.pk, task.lease_token), outage=outage)
    return reaped


def _reap(task: Task, claim: Lease, *, outage: bool) -> int:
    late = claim.row.filter(lease_expires_at__lt=database_clock.after())
    if task.state == State.CANCELLING:
        return _cancel(late)
    failure = failures.failure("worker_died", attempts=task.attempts)
    counted, delays = task.attempts, task.delays
    fault = "database_fault" if outage else HostExhausted.code if _lacked_memory(task) else ""
    if fault and delays < DELAYS:
        failure = failures.failure(fault)
        counted, delays = max(counted - 1, 0), delays + 1
    if counted < settings.MAX_ATTEMPTS:
        with transaction.atomic():
            reaped = late.filter(state=State.IN_PROGRESS).update(
                state=State.WAITING,
                progress=0,
                attempts=counted,
                delays=delays,
                available_at=timezone.now(),
                **UNCLAIMED,
                **_columns(failure),
            )
            if reaped:
                attempts.record(task, Outcome.LOST, _columns(failure))
        return reaped
    with transaction.atomic():
        batch = _locked_batch(claim)
        return int(_end(batch, late.filter(state=State.IN_PROGRESS), State.FAILED, **_columns(failure)))


def _lacked_memory(task: Task) -> bool:
    """Whether the kernel has ended a process on the worker's host, for want of memory, since it began."""
    host = task.worker.rpartition(":")[0]
    return bool(host and task.started_at and fleet.out_of_memory_since(task.started_at, host))


def retry(tasks: QuerySet[Task]) -> int:
    """Retry failed and cancelled tasks, with the batch's current settings and the attempts reset to zero.

    An input that was moved aside is read from there. The new outcome goes into a later execution result.
    A task is not retried yet while its failure is in an unwritten execution result, or its input is still
    being moved aside.
    """
    retried = 0
    for task_id in list(tasks.filter(retryable()).values_list("pk", flat=True)):
        with transaction.atomic():
            retried += _retry(Task.unscoped.select_related("batch__domain").get(pk=task_id))
    return retried


def retryable() -> Q:
    reported = Q(execution_result=None) | Q(execution_result__written_at__isnull=False)
    ended = Q(state__in=[State.FAILED, State.CANCELLED], move_due_at=None)
    return ended & reported & Q(batch__deleted_at=None)


def acknowledgeable() -> Q:
    """Failed tasks whose failure no member has acknowledged."""
    return Q(state=State.FAILED, acknowledged_at=None)


def cancellable() -> Q:
    """Tasks that have not ended and are not being cancelled."""
    return Q(state__in=[State.WAITING, State.IN_PROGRESS])


def repeatable() -> Q:
    """Completed tasks whose input was moved to the processed folder, by them or by their original task."""
    first = Q(original=None, moved_at__isnull=False, move_due_at=None)
    later = Q(original__moved_at__isnull=False, original__move_due_at=None)
    return Q(state=State.COMPLETED) & Q(connection__isnull=False) & (first | later)


def _retry(task: Task) -> int:
    moved = task.moved_at is not None
    # Only conditions on the task's own columns: after waiting for a lock, PostgreSQL does not recheck
    # conditions on other tables.
    unchanged = Task.unscoped.filter(
        pk=task.pk,
        state=task.state,
        finished_at=task.finished_at,
        move_due_at=None,
        moved_at=task.moved_at,
        execution_result=task.execution_result_id,
    )
    retried = unchanged.update(
        state=State.WAITING,
        progress=0,
        attempts=0,
        delays=0,
        available_at=timezone.now(),
        finished_at=None,
        settings=None,
        **task.overrides.model_columns(),
        execution_result=None,
        input_key=task.moved_key if moved else task.input_key,
        input_version=task.moved_version if moved else task.input_version,
        moved_key="",
        moved_version="",
        moved_at=None,
        move_attempts=0,
        notice="",
        acknowledged_at=None,
        acknowledgement="",
        **NO_FAILURE,
    )
    if retried and task.settings and task.current_settings().makes_other_transcripts(task.settings):
        StoredTranscript.unscoped.filter(task=task).delete()
    return retried
