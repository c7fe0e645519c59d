"""Services that pause batches and retry, cancel or repeat tasks.

Each raises ``ValidationError`` with a code and a sentence when it cannot be done.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.billing import budget
from batches.intake import poll_schedule
from batches.models import Batch, Task
from batches.tasks import lifecycle
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account
from speechportal.platform import queue

State = Task.State


@dataclass(frozen=True)
class Estimate:
    """Estimated charge of ``files`` files, and the amount left in the budget (``None``: no budget)."""

    files: int
    amount: Decimal
    currency: str
    budget_left: Decimal | None

    @property
    def fits(self) -> bool:
        return self.budget_left is None or self.amount <= self.budget_left


def estimate(*, account: Account, files: int = 1) -> Estimate:
    """Estimate the charge of ``files`` files at the account's current price."""
    return Estimate(files, account.price_per_file * files, account.currency, budget.left(account))


def pause_batch(*, batch: Batch) -> Batch:
    """Pause a batch: no polling and no new starts; tasks in progress end. Idempotent."""
    with transaction.atomic():
        locked = lock_batch(batch)
        if locked.paused_at is None:
            locked.paused_at = timezone.now()
            locked.save(update_fields=["paused_at"])
    return locked


def resume_batch(*, batch: Batch) -> Batch:
    """Resume a batch: poll its input path at once and start waiting tasks. Idempotent."""
    with transaction.atomic():
        locked = lock_batch(batch)
        if locked.paused_at is not None:
            locked.paused_at = None
            locked.next_poll_at = timezone.now()
            locked.save(update_fields=["paused_at", "next_poll_at"])
            poll_schedule.wake(locked.pk)
            wake(locked)
    return locked


def retry_failed(*, batch: Batch) -> int:
    """Retry all failed tasks that can be retried; returns how many. Nothing is charged twice."""
    with transaction.atomic():
        locked = lock_batch(batch)
        retried = lifecycle.retry(Task.unscoped.filter(batch=locked, state=State.FAILED))
        _hasten(locked)
        if retried:
            trail.record("batch.retried", locked, changes={"tasks": [None, retried]})
            wake(locked)
    return retried


def retry_task(*, task: Task) -> Task:
    """Retry a failed or cancelled task. However often it runs, it is charged once."""
    with transaction.atomic():
        batch = lock_batch(task.batch)
        if not lifecycle.retry(Task.unscoped.filter(pk=task.pk)):
            task.refresh_from_db()
            _refuse_retry(task)
        trail.record("task.retried", task)
        wake(batch)
    return Task.unscoped.get(pk=task.pk)


def _refuse_retry(task: Task) -> NoReturn:
    if task.state not in {State.FAILED, State.CANCELLED}:
        raise ValidationError(_("Only a failed or cancelled task can be retried."), code="task_not_retryable")
    if task.move_due_at is not None:
        raise ValidationError(
            _("The input file is just being moved aside. Try again in a moment."), code="task_moving"
        )
    raise ValidationError(
        _("The failure is being reported in an execution result. Try again in a moment."),
        code="task_being_reported",
    )


def cancel_task(*, task: Task) -> Task:
    """Cancel a task that has not ended; one in progress ends as soon as its worker notices."""
    with transaction.atomic():
        if not lifecycle.cancel(Task.unscoped.filter(pk=task.pk)):
            raise ValidationError(_("The task has ended already."), code="task_ended")
        trail.record("task.cancelled", task)
    return Task.unscoped.get(pk=task.pk)


def cancel_waiting(*, batch: Batch) -> int:
    """Cancel all waiting tasks; returns how many. Their input files stay where they are."""
    with transaction.atomic():
        cancelled = lifecycle.cancel_waiting(lock_batch(batch))
        trail.record("batch.cancelled", batch, changes={"tasks": [None, cancelled]})
    return cancelled


def recognise_again(*, task: Task) -> Task:
    """Create another task for a completed task's input, with the batch's current settings and its own charge.

    Its result is written beside the first; the input is not moved.
    """
    with transaction.atomic():
        batch = lock_batch(task.batch)
        task = Task.unscoped.select_related("original").get(pk=task.pk)
        original = task.original or task
        if task.state != State.COMPLETED:
            raise ValidationError(
                _("Only a completed task can be recognised again."), code="task_not_completed"
            )
        _check_repeatable(original)
        batch.last_task_order += 1
        batch.save(update_fields=["last_task_order"])
        moved = original.moved_at is not None
        repeat = Task.unscoped.create(
            account_id=task.account_id,
            batch=batch,
            connection_id=original.connection_id,
            task_order=batch.last_task_order,
            original=original,
            input_key=original.moved_key if moved else original.input_key,
            input_version=original.moved_version if moved else original.input_version,
            input_size=original.input_size,
            input_modified_at=original.input_modified_at,
            name=original.name,
        )
        trail.record("task.recognised_again", original, changes={"task": [None, repeat.uid]})
        wake(batch)
    return repeat


def _check_repeatable(original: Task) -> None:
    if original.move_due_at is not None:
        raise ValidationError(
            _("The input file is just being moved. Try again in a moment."), code="task_moving"
        )
    if original.moved_at is None or original.connection_id is None:
        raise ValidationError(
            _("The input file is not there any more. Upload it again."), code="task_input_gone"
        )
    if original.repeats.exclude(state__in=Task.FINAL).exists():
        raise ValidationError(_("The file is being recognised again already."), code="task_repeating")


def lock_batch(batch: Batch) -> Batch:
    """Lock the row of a live batch and return it. Raises ``ValidationError`` if it was deleted meanwhile."""
    locked = Batch.unscoped.live().select_for_update(no_key=True).filter(pk=batch.pk).first()
    if locked is None:
        raise ValidationError(_("The batch was deleted meanwhile."), code="batch_deleted")
    return locked


def _hasten(batch: Batch) -> None:
    """Make postponed moves of failed inputs due now, so that their tasks can be retried."""
    now = timezone.now()
    Task.unscoped.filter(batch=batch, state=State.FAILED, move_due_at__gt=now, move_attempts__gt=1).update(
        move_due_at=now
    )


def wake(batch: Batch) -> None:
    """Wake as many workers as the batch has waiting tasks, up to eight."""
    waiting = Task.unscoped.filter(batch=batch, state=State.WAITING)
    queue.wake_recognition(waiting.order_by()[:8].count())
