"""Polling: lists input paths and creates tasks for new media files.

A poll lists the input path level by level and never descends into folders of finished inputs, so that its
cost depends on the waiting files, not on the finished ones. A media file becomes a task once two polls have
seen the same size and version and it has not changed for the settle time, by the storage's own clock.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from batches.models import Batch, ConnectionBackoff, PendingFile, ProcessedFolder, Task
from batches.models.batch import UNUSABLE_NAMES_KEPT, BatchQuerySet
from batches.status import batch_status, connection_backoff
from batches.status.failures import failure_of
from speechportal.platform import logs, queue
from speechportal.storage.backends.base import Folder, ObjectStore, OnUnusable, StoredFile
from speechportal.storage.errors import StorageError
from speechportal.storage.keys import printable

logger = logging.getLogger(__name__)

CHUNK = 1000
MAX_DEPTH = 50

# File name extensions that are taken for media, of telephones, cameras and dictation machines too; decoding
# finds out what a file contains.
MEDIA_ENDINGS = frozenset(
    [
        ".mp3", ".aac", ".ac3", ".ogg", ".oga", ".flac", ".wav", ".m4a", ".avi", ".mp4", ".mov",
        ".wmv", ".flv", ".mkv", ".opus", ".webm", ".amr", ".wma", ".aif", ".aiff", ".aifc", ".mpeg",
        ".mpg", ".mp2", ".mpga", ".ts", ".m2ts", ".3gp", ".m4v", ".m4b", ".caf", ".mts", ".m2t",
        ".mka", ".3g2", ".asf", ".ogv", ".f4v", ".f4a", ".vob", ".w64", ".rf64", ".au", ".snd",
        ".eac3", ".weba", ".spx", ".dss", ".gsm", ".awb", ".wv", ".mxf",
    ]
)  # fmt: skip


def is_media(key: str) -> bool:
    return PurePosixPath(key).suffix.lower() in MEDIA_ENDINGS


def pollable(now: datetime) -> BatchQuerySet:
    """Batches that may be polled: neither paused nor suspended, on a connection without back-off."""
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    return Batch.unscoped.live().filter(~Exists(blocked), paused_at=None, account__suspended_at=None)


def claim_due() -> list[int]:
    """Claim batches whose poll is due, by setting the time of their next one; returns their IDs."""
    now = timezone.now()
    due = pollable(now).filter(next_poll_at__lte=now).order_by("next_poll_at")
    return [
        batch_id
        for batch_id in due.values_list("pk", flat=True)[:CHUNK]
        if Batch.unscoped.filter(pk=batch_id, next_poll_at__lte=now).update(
            next_poll_at=now + timedelta(seconds=settings.POLL_SECONDS)
        )
    ]


def poll(batch_id: int) -> int:
    """Poll the input path once; returns how many tasks were created.

    A storage error turns the batch to Error, a successful poll back to Normal.
    """
    batch = pollable(timezone.now()).select_related("connection").filter(pk=batch_id).first()
    if batch is None or batch.connection is None:
        return 0
    logs.bind(batch=batch.uid)
    connection_backoff.admit(batch.connection_id)
    try:
        with connection_backoff.watched(batch.connection.pk):
            created = _poll(batch, batch.connection.store())
    except StorageError as error:
        logger.warning("batch %s: poll failed: %s", batch.uid, error.code)
        _tell(batch, error)
        return 0
    batch_status.after_successful_poll(batch.pk)
    Batch.unscoped.filter(pk=batch.pk).update(polled_at=timezone.now())
    if created:
        queue.wake_recognition(created)
    return created


def _tell(batch: Batch, error: StorageError) -> None:
    """Turn the batch to Error. An error that usually passes by itself is announced after several polls."""
    backoff = ConnectionBackoff.unscoped.filter(connection=batch.connection_id).first()
    often = backoff is not None and backoff.failures >= connection_backoff.TOLERATED
    if often or not connection_backoff.passes_by_itself(error):
        batch_status.set_error(batch.pk, failure_of(error))


def _poll(batch: Batch, store: ObjectStore) -> int:
    poll_started = timezone.now()
    skipped = _folders_to_skip(batch)
    created = 0
    unusable = _Unusable()
    for chunk in _chunks(walk(store, batch.input_path, skipped, unusable.add), CHUNK):
        created += _take(batch, chunk, store.server_time())
    # What this poll did not see is gone: it was renamed, removed or replaced before it settled.
    PendingFile.unscoped.filter(batch=batch, seen_at__lt=poll_started).delete()
    unusable.note(batch)
    return created


class _Unusable:
    """Collects names that cannot be keys. They are shown on the batch's page, since they become no tasks."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.count = 0

    def add(self, name: str) -> None:
        if name.endswith("/") or is_media(name):
            self.count += 1
            if self.count <= UNUSABLE_NAMES_KEPT:
                self.names.append(printable(name))

    def note(self, batch: Batch) -> None:
        if (self.names, self.count) != (batch.unusable_names, batch.unusable_count):
            Batch.unscoped.filter(pk=batch.pk).update(unusable_names=self.names, unusable_count=self.count)


def _folders_to_skip(batch: Batch) -> set[str]:
    folders = ProcessedFolder.unscoped.filter(
        connection=batch.connection_id, path__startswith=batch.input_path
    ).exclude(path=batch.input_path)
    return {batch.folder, batch.result_path, *folders.values_list("path", flat=True)}


def walk(
    store: ObjectStore, path: str, skipped: set[str], on_unusable: OnUnusable | None = None
) -> Iterator[StoredFile]:
    """Yield media files below ``path``, level by level, without the folders in ``skipped``.

    ``on_unusable`` is called with names of files and folders that cannot be keys.
    """
    level = [path]
    for _ in range(MAX_DEPTH):
        below: list[str] = []
        for folder in level:
            for entry in store.list_level(folder, on_unusable):
                if isinstance(entry, Folder):
                    if entry.path not in skipped:
                        below.append(entry.path)
                elif is_media(entry.key):
                    yield entry
        if not below:
            return
        level = below
    if on_unusable:
        for folder in level:
            on_unusable(folder)


def _chunks(files: Iterable[StoredFile], size: int) -> Iterator[list[StoredFile]]:
    iterator = iter(files)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def _take(batch: Batch, files: list[StoredFile], server_time: datetime) -> int:
    """Create tasks for the settled files among ``files``, and store the others for the next poll."""
    with transaction.atomic():
        # The row lock makes two polls at once take turns, and a deletion wait or be seen.
        locked = Batch.unscoped.select_for_update(no_key=True).get(pk=batch.pk)
        if locked.is_deleted:
            return 0
        keys = [file.key for file in files]
        known = set(
            Task.unscoped.filter(batch=batch, original=None, input_key__in=keys)
            .order_by()
            .values_list("input_key", "input_version")
        )
        seen = PendingFile.unscoped.filter(batch=batch, key__in=keys)
        pending = set(seen.values_list("key", "version", "size"))
        old_enough = server_time - timedelta(seconds=settings.SETTLE_SECONDS)
        settled: list[StoredFile] = []
        arriving: list[StoredFile] = []
        for file in files:
            if (file.key, file.version) in known:
                continue
            seen_before = (file.key, file.version, file.size) in pending
            (settled if seen_before and file.modified <= old_enough else arriving).append(file)
        _remember(batch, arriving)
        PendingFile.unscoped.filter(batch=batch, key__in=[file.key for file in settled]).delete()
        create_tasks(locked, settled)
    return len(settled)


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
                seen_at=now,
            )
            for file in files
        ],
        update_conflicts=True,
        unique_fields=["batch", "key"],
        update_fields=["version", "size", "modified_at", "seen_at"],
    )


def create_tasks(batch: Batch, files: list[StoredFile]) -> None:
    """One task for each of ``files``, which have none yet. The caller holds the lock on the batch's row."""
    first = batch.last_task_order + 1
    Task.unscoped.bulk_create(
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
        )
        for order, file in enumerate(files, start=first)
    )
    batch.last_task_order += len(files)
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=batch.last_task_order)
