"""Task creation: a file becomes a task once it has settled, or at once if it is known to be complete."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from batches.intake.poll_schedule import pollable
from batches.models import Batch, PendingFile, Task, TaskTrace
from speechportal.platform import queue
from speechportal.storage.backends.base import StoredFile


def take_settled(batch: Batch, files: list[StoredFile], server_time: datetime) -> int:
    """Create tasks for the settled files among ``files``, and store the others for the next poll."""
    with transaction.atomic():
        # The row lock serialises concurrent polls and a concurrent deletion.
        locked = Batch.unscoped.select_for_update(no_key=True).get(pk=batch.pk)
        if locked.is_deleted:
            return 0
        keys = [file.key for file in files]
        known = _known(batch, keys)
        pending = {
            (each.key, each.version, each.size): each.since
            for each in PendingFile.unscoped.filter(batch=batch, key__in=keys)
        }
        settle = timedelta(seconds=locked.settle_seconds_or_default)
        old_enough, long_enough = server_time - settle, timezone.now() - settle
        settled: list[StoredFile] = []
        returned: list[Task] = []
        unchanged: list[str] = []
        arriving: list[StoredFile] = []
        for file in files:
            earlier = known.get((file.key, file.version))
            since = pending.get((file.key, file.version, file.size))
            if earlier is not None and not earlier.was_put_back:
                continue
            if since is None:
                arriving.append(file)
            elif file.modified <= old_enough or since <= long_enough:
                settled.append(file)
                returned += [earlier] if earlier else []
            else:
                unchanged.append(file.key)
        _remember(batch, arriving)
        waiting = PendingFile.unscoped.filter(batch=batch)
        waiting.filter(key__in=unchanged).update(seen_at=timezone.now())
        waiting.filter(key__in=[file.key for file in settled]).delete()
        _free_versions(returned)
        create_tasks(locked, settled, {task.input_key for task in returned})
    return len(settled)


def moved_away(batch: Batch, files: list[StoredFile]) -> set[str]:
    """Keys of files that are still listed although their tasks have moved them (a stale listing)."""
    known = _known(batch, [file.key for file in files])
    earlier = {file.key: known.get((file.key, file.version)) for file in files}
    return {key for key, task in earlier.items() if task is not None and task.was_put_back}


def tasks_of(batch: Batch, files: list[StoredFile]) -> set[str]:
    """Keys of the files that already have tasks."""
    known = _known(batch, [file.key for file in files])
    return {
        file.key
        for file in files
        if (task := known.get((file.key, file.version))) is not None and not task.was_put_back
    }


def take_whole(batch: Batch, files: list[StoredFile]) -> int:
    """Create tasks for complete files, without the settle time."""
    if not files or not pollable(timezone.now()).filter(pk=batch.pk).exists():
        return 0
    with transaction.atomic():
        locked = Batch.unscoped.select_for_update(no_key=True).get(pk=batch.pk)
        if locked.is_deleted:
            return 0
        known = _known(batch, [file.key for file in files])
        fresh = {file.key: file for file in files if (file.key, file.version) not in known}
        PendingFile.unscoped.filter(batch=batch, key__in=fresh).delete()
        create_tasks(locked, list(fresh.values()), source="notification")
    if fresh:
        queue.wake_recognition(len(fresh))
    return len(fresh)


def create_tasks(
    batch: Batch, files: list[StoredFile], put_back: Collection[str] = (), *, source: str = "poll"
) -> None:
    """Create one task for each of ``files``, which have none yet. The caller holds the batch's row lock.

    ``put_back`` are the keys of files that were recognised before and moved back; ``source`` is how the files
    were discovered, for their traces.
    """
    first = batch.last_task_order + 1
    created = Task.unscoped.bulk_create(
        Task(
            account_id=batch.account_id,
            batch=batch,
            connection_id=batch.connection_id,
            task_order=order,
            input_key=file.key,
            input_version=file.version,
            input_size=file.size,
            input_modified_at=file.modified,
            name=file.key.removeprefix(batch.input_path),
            notice=Task.Notice.PUT_BACK if file.key in put_back else Task.Notice.NONE,
        )
        for order, file in enumerate(files, start=first)
    )
    TaskTrace.begin(created, source)
    batch.last_task_order += len(files)
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=batch.last_task_order)


def _known(batch: Batch, keys: list[str]) -> dict[tuple[str, str], Task]:
    """Tasks of these inputs, by key and version."""
    tasks = Task.unscoped.filter(batch=batch, original=None, input_key__in=keys).order_by()
    columns = tasks.only("pk", "input_key", "input_version", "state", "moved_at", "notice")
    return {(task.input_key, task.input_version): task for task in columns}


def _free_versions(returned: list[Task]) -> None:
    """Release the versions of finished inputs that were moved back, so that they can be inputs again."""
    for task in returned:
        before = f"{task.input_version[:150]} before {task.pk}"
        Task.unscoped.filter(pk=task.pk).update(input_version=before)


def _remember(batch: Batch, files: list[StoredFile]) -> None:
    now = timezone.now()
    PendingFile.unscoped.bulk_create(
        [
            PendingFile(
                batch=batch,
                key=file.key,
                version=file.version,
                size=file.size,
                modified_at=file.modified,
                since=now,
                seen_at=now,
            )
            for file in files
        ],
        update_conflicts=True,
        unique_fields=["batch", "key"],
        update_fields=["version", "size", "modified_at", "since", "seen_at", "is_media"],
    )
