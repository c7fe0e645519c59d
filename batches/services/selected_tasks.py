"""Actions on many tasks of a batch at once: those that a member selected, or all that match a filter.

Tasks whose state does not allow the action are skipped: another person, or a worker, may have been first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch, Task
from batches.models.batch import NOTE_LENGTH
from batches.services import tasks as task_services
from batches.tasks import lifecycle
from speechportal.accounts.audit import trail

State = Task.State
MOST_REPEATS = 500  # Each is a transaction and a charge of its own.


@dataclass(frozen=True)
class Outcome:
    """Outcome of an action: the number of tasks changed (``done``) and skipped (``passed_over``)."""

    done: int
    passed_over: int


def fitting(action: str, tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Filter the tasks whose state allows the action."""
    conditions = {
        "retry": lifecycle.retryable(),
        "cancel": lifecycle.cancellable(),
        "recognise-again": lifecycle.repeatable(),
        "acknowledge": lifecycle.acknowledgeable(),
    }
    return tasks.filter(conditions[action])


def retry(*, batch: Batch, tasks: QuerySet[Task]) -> Outcome:
    """Retry failed and cancelled tasks. Nothing is charged twice."""
    with transaction.atomic():
        locked = task_services.lock_batch(batch)
        chosen = tasks.order_by()
        asked, done = chosen.count(), lifecycle.retry(chosen)
        if done:
            trail.record("batch.retried", locked, changes={"tasks": [None, done]})
            task_services.wake(locked)
    return Outcome(done, asked - done)


def cancel(*, batch: Batch, tasks: QuerySet[Task]) -> Outcome:
    """Cancel tasks that have not ended; those in progress end as soon as their workers notice."""
    with transaction.atomic():
        locked = task_services.lock_batch(batch)
        # Select by ID, since the filter may depend on the state that changes.
        chosen = Task.objects.for_account(batch.account).filter(
            pk__in=list(tasks.values_list("pk", flat=True))
        )
        asked, done = chosen.count(), lifecycle.cancel(chosen)
        if done:
            trail.record("batch.cancelled", locked, changes={"tasks": [None, done]})
    return Outcome(done, asked - done)


def recognise_again(*, batch: Batch, tasks: QuerySet[Task]) -> Outcome:
    """Create a new task for the input of each completed task, with a charge of its own.

    Raises ``ValidationError`` for more than ``MOST_REPEATS`` at once.
    """
    asked = tasks.count()
    chosen = list(fitting("recognise-again", tasks).select_related("batch")[: MOST_REPEATS + 1])
    if len(chosen) > MOST_REPEATS:
        sentence = _("At most %d files can be recognised again at once. Select fewer.")
        raise ValidationError(sentence % MOST_REPEATS, code="too_many_tasks")
    done = 0
    for task in chosen:
        try:
            task_services.recognise_again(task=task)
            done += 1
        except ValidationError:
            continue  # It changed meanwhile.
    return Outcome(done, asked - done)


def acknowledge(*, batch: Batch, tasks: QuerySet[Task], note: str = "") -> Outcome:
    """Acknowledge failures, with a note: the dashboard no longer shows them.

    A retry clears the acknowledgement, so that another failure is shown again. Raises ``ValidationError`` for
    a note that is too long.
    """
    with transaction.atomic():
        locked = task_services.lock_batch(batch)
        asked = tasks.count()
        done = _acknowledge(fitting("acknowledge", tasks.order_by()), note)
        if done:
            trail.record("batch.acknowledged", locked, changes={"tasks": [None, done], "note": [None, note]})
    return Outcome(done, asked - done)


def acknowledge_task(*, task: Task, note: str = "") -> Task:
    """Acknowledge one task's failure. Raises ``ValidationError`` if there is none, or for a long note."""
    with transaction.atomic():
        found = Task.objects.for_account(task.account).filter(pk=task.pk)
        if not _acknowledge(fitting("acknowledge", found), note):
            raise ValidationError(
                _("Only a failure that nobody has acknowledged yet can be acknowledged."),
                code="task_not_acknowledgeable",
            )
        trail.record("task.acknowledged", task, changes={"note": [None, note]})
    return found.get()


def _acknowledge(tasks: QuerySet[Task], note: str) -> int:
    if len(note) > NOTE_LENGTH:
        raise ValidationError(_("A note has at most %d characters.") % NOTE_LENGTH, code="note_too_long")
    return tasks.update(acknowledged_at=timezone.now(), acknowledgement=note)


ACTIONS: dict[str, Callable[..., Outcome]] = {
    "retry": retry,
    "cancel": cancel,
    "recognise-again": recognise_again,
    "acknowledge": acknowledge,
}
