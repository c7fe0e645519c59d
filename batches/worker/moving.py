"""Input moves: moves the inputs of finished tasks out of the input path, with retries.

A move follows the commit of the task's final state. Recognised inputs go to ``<input path>/<batch name>/``,
failed ones to its folder ``failed``, each with a text file that states the reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from batches.models import Task, TaskTrace, object_names
from batches.status import connection_backoff
from batches.worker import result_files
from speechportal.platform import tracing
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.errors import (
    Changed,
    NotFound,
    ObjectArchived,
    ObjectEncrypted,
    ObjectError,
    ObjectLocked,
    StorageError,
    StorageFault,
)

FAILED_FOLDER = "failed/"
REASON_ENDING = ".reason.txt"
# Failures after which the input cannot be moved.
_UNREADABLE = {ObjectError.code, ObjectArchived.code, ObjectEncrypted.code}


def due() -> list[int]:
    """IDs of tasks whose input is not moved yet and whose next attempt is due."""
    unmoved = overdue(timezone.now()).order_by("move_due_at")
    return list(unmoved.values_list("pk", flat=True)[:1000])


def overdue(now: datetime) -> QuerySet[Task]:
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    return Task.unscoped.filter(~Exists(blocked), move_due_at__lte=now)


def move_input(task_id: int) -> None:
    """Move a finished task's input to the folder of its final state.

    Idempotent: the outcome is the same at whatever step an earlier attempt stopped. Raises ``StorageError``;
    the retry is then already scheduled.
    """
    task = Task.unscoped.select_related("connection", "batch").filter(pk=task_id).first()
    if task is None or task.move_due_at is None:
        return
    if task.connection is None:
        Task.unscoped.filter(pk=task.pk).update(move_due_at=None)
        return
    if connection_backoff.is_blocked(task.connection.pk):
        return
    attempts = task.move_attempts + 1
    # After this time another worker may retry; a slow first attempt does no harm.
    held_until = timezone.now() + timedelta(seconds=2 * settings.LEASE_SECONDS)
    mine = Task.unscoped.filter(pk=task.pk, move_due_at=task.move_due_at)
    if not mine.update(move_attempts=attempts, move_due_at=held_until):
        return  # Another worker moves it.
    mine = Task.unscoped.filter(pk=task.pk, move_due_at=held_until)
    connection_backoff.admit(task.connection.pk)
    try:
        with (
            connection_backoff.watched(task.connection.pk),
            tracing.span("move", TaskTrace.parent_of(task.pk), task=task.uid, attempt=attempts),
        ):
            outcome = _tidy(task, task.connection.store())
    except StorageError as error:
        if isinstance(error, ObjectError) or task.error_code in _UNREADABLE:
            mine.update(move_due_at=None)  # The input stays; its known version does not become a task again.
            return
        pause = timedelta(seconds=min(5 * 2**attempts, 3600))
        mine.update(move_due_at=timezone.now() + pause)
        raise
    mine.update(move_due_at=None, **outcome)


def _tidy(task: Task, store: ObjectStore) -> dict[str, Any]:
    """Move the input; returns the column values to store. The input of a repeated task is not moved."""
    if task.state != Task.State.COMPLETED:
        result_files.remove(task, store)
    if task.state == Task.State.CANCELLED or task.original_id is not None:
        return {}
    failed = task.state == Task.State.FAILED
    _reserve(task, store, FAILED_FOLDER if failed else "")
    version, notice = _bring_over(task, store)
    if failed and version:
        store.put(f"{task.moved_key}{REASON_ENDING}", _reason(task), content_type="text/plain")
    return {"moved_at": timezone.now() if version else None, "moved_version": version, "notice": notice}


def _reserve(task: Task, store: ObjectStore, subfolder: str) -> None:
    if task.moved_key:
        return

    def save(key: str) -> None:
        Task.unscoped.filter(pk=task.pk, moved_key="").update(moved_key=key)

    chosen = task.settings.folder if task.settings else ""
    folder = f"{chosen or task.batch.folder}{subfolder}"
    spare = len(REASON_ENDING) if subfolder else 0
    names = object_names.candidates(folder, task.name, part_bytes=store.part_bytes, spare=spare)
    object_names.reserve(names, lambda key: store.stat(key) is not None, save)
    task.refresh_from_db(fields=["moved_key"])


def _bring_over(task: Task, store: ObjectStore) -> tuple[str, str]:
    """Move the input if it is still the version that was recognised.

    Returns its new version, or ``""`` if it was not moved, and a notice of what happened to it.
    """
    try:
        return store.move(task.input_key, task.moved_key, if_version=task.input_version).version, ""
    except ObjectLocked:
        copied = store.stat(task.moved_key)
        return (copied.version, Task.Notice.LOCKED) if copied else ("", Task.Notice.LOCKED)
    except (NotFound, Changed):
        # An earlier attempt moved it, or its owner has since removed or replaced it.
        moved = store.stat(task.moved_key)
        looks = {found.version if found else "" for found in (store.stat(task.input_key) for _ in range(2))}
        if len(looks) > 1 or task.input_version in looks:
            raise StorageFault(task.input_key) from None  # The input exists after all.
        if looks != {""}:
            return moved.version if moved else "", Task.Notice.REPLACED
        return (moved.version, "") if moved else ("", Task.Notice.REMOVED)


def _reason(task: Task) -> bytes:
    lines = [
        f"File: {task.name}",
        f"Task: {task.uid}",
        f"Failed: {task.finished_at:%Y-%m-%d %H:%M:%S %Z}",
        f"Cause: {task.error_message}",
        f"Code: {task.error_code}",
        "",
    ]
    return "\n".join(lines).encode()
