"""Moves inputs of finished tasks aside, after the fact is committed, and again until it is done.

``<input path>/<batch name>/`` takes the recognised ones; its folder ``failed`` takes the others, each with
its reason in a text file beside it.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from batches import keys
from batches.models import Task
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.errors import Changed, NotFound

FAILED_FOLDER = "failed/"
REASON_ENDING = ".reason.txt"


def due() -> list[int]:
    """Tasks whose input is still to be moved and whose next attempt is due."""
    unmoved = Task.unscoped.filter(move_due_at__lte=timezone.now())
    return list(unmoved.order_by("move_due_at").values_list("pk", flat=True)[:1000])


def move_input(task_id: int) -> None:
    """Move one input. Whatever step an earlier attempt reached, the outcome is the same."""
    task = Task.unscoped.select_related("connection").filter(pk=task_id).first()
    if task is None or task.move_due_at is None or task.connection is None:
        return
    attempts = task.move_attempts + 1
    retry_at = timezone.now() + timedelta(seconds=min(15 * 2**attempts, 3600))
    if not Task.unscoped.filter(pk=task.pk, move_due_at=task.move_due_at).update(
        move_attempts=attempts, move_due_at=retry_at
    ):
        return  # Another worker is at it.
    store = task.connection.store()
    failed = task.state == Task.State.FAILED
    if failed:
        _reserve(task, store, FAILED_FOLDER)
        source = store.stat(task.input_key)
        if source is not None and source.version == task.input_version:
            store.put(f"{task.moved_key}{REASON_ENDING}", _reason(task), content_type="text/plain")
    else:
        _reserve(task, store, "")
    version = _bring_over(task, store)
    Task.unscoped.filter(pk=task.pk, move_due_at=retry_at).update(
        move_due_at=None, moved_at=timezone.now() if version else None, moved_version=version
    )


def _reserve(task: Task, store: ObjectStore, subfolder: str) -> None:
    if task.moved_key:
        return

    def save(key: str) -> None:
        Task.unscoped.filter(pk=task.pk, moved_key="").update(moved_key=key)

    folder = f"{(task.settings or {}).get('folder') or task.batch.folder}{subfolder}"
    keys.reserve(keys.candidates(folder, task.name), lambda key: store.stat(key) is not None, save)
    task.refresh_from_db(fields=["moved_key"])


def _bring_over(task: Task, store: ObjectStore) -> str:
    """Move the input if it is still the one that was recognised. Returns its new version, or ``""``."""
    try:
        return store.move(task.input_key, task.moved_key, if_version=task.input_version).version
    except (NotFound, Changed):
        # An earlier attempt moved it, or its owner took it away or replaced it meanwhile.
        moved = store.stat(task.moved_key)
        return moved.version if moved else ""


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
