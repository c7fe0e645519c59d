"""Actions on many tasks of a batch at once: those that a member selected, or all that match a filter.

Each task that an action does not fit is passed over: two people at once, or a worker, may be first.
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
from batches.services import tasks as task_services
from batches.tasks import lifecycle
from speechportal.accounts.audit import trail

State = Task.State
NOTE_LENGTH = 500  # characters of an acknowledgement
MOST_REPEATS = 500  # Each is a transaction and a charge of its own.


@dataclass(frozen=True)
class Outcome:
    """``done`` tasks were changed; ``passed_over`` ones were in a state that the action does not fit."""

    done: int
    passed_over: int


def fitting(action: str, tasks: QuerySet[Task]) -> QuerySet[Task]:
    """Those of ``tasks`` that the action can be done to now."""
    conditions = {
        "retry": lifecycle.retryable(),
        "cancel": lifecycle.cancellable(),
        "recognise-again": lifecycle.repeatable(),
        "acknowledge": lifecycle.acknowledgeable(),
    }
    return tasks.filter(conditions[action])


def retry(*, batch: Batch, tasks: QuerySet[Task]) -> Outcome:
    """Let failed and cancelled tasks run again. Nothing is charged twice."""
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
        # By their IDs: the filter may name the very state that changes.
        chosen = Task.objects.for_account(batch.account).filter(
            pk__in=list(tasks.values_list("pk", flat=True))
        )
        asked, done = chosen.count(), lifecycle.cancel(chosen)
        if done:
            trail.record("batch.cancelled", locked, changes={"tasks": [None, done]})
    return Outcome(done, asked - done)


def recognise_again(*, batch: Batch, tasks: QuerySet[Task]) -> Outcome:
    """A new task for each completed one's input, with a charge of its own.

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
    """Mark failures as seen, with a note: Home no longer names them.

    A retry removes the mark: if the task fails again, that is another failure. Raises ``ValidationError`` for
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
    """Mark one task's failure as seen. Raises ``ValidationError`` where there is none, or for a long note."""
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
