"""Polling: lists input paths and creates tasks for new media files.

A poll lists the input path level by level and never descends into folders of finished inputs, so that its
cost depends on the waiting files, not on the finished ones. A media file becomes a task once two polls have
seen the same size and version and it has not changed for the settle time, by the storage's own clock.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
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
from speechportal.storage.errors import StorageError, TimedOut
from speechportal.storage.keys import printable

logger = logging.getLogger(__name__)

CHUNK = 1000
JOB = "batches.operations.jobs.poll"
MAX_DEPTH = 50
MOST_SECONDS = 240  # of a poll altogether; below the timeout of the queue's short cluster
GRACE_SECONDS = 120  # … after which a poll that has not ended was killed
LOST_SECONDS = 1800  # after which a message that nobody has worked off is taken for lost

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
    """Batches whose poll is due; marked as queued, so that nobody queues them again before it has run.

    Accounts take turns, and of one account no more polls are under way than leave workers for the others: a
    storage that drips its answers keeps nobody else's waiting.
    """
    now = timezone.now()
    _take_back(now)
    under_way = Counter(_under_way().values_list("account_id", flat=True))
    most = max(1, settings.SHORT_WORKERS // 2)
    due = pollable(now).filter(next_poll_at__lte=now, poll_queued_at=None, poll_started_at=None)
    claimed = []
    for batch_id, account_id in _in_turns(
        due.order_by("next_poll_at").values_list("pk", "account_id")[:CHUNK]
    ):
        if under_way[account_id] < most and _queue(batch_id, now):
            under_way[account_id] += 1
            claimed.append(batch_id)
    return claimed


def wake(batch_id: int) -> bool:
    """Have the input path looked at as soon as a worker is free; nothing where that is queued already."""
    if not _queue(batch_id, timezone.now()):
        return False
    queue.enqueue(JOB, batch_id)
    return True


def _under_way() -> BatchQuerySet:
    return Batch.unscoped.live().exclude(poll_queued_at=None, poll_started_at=None)


def _queue(batch_id: int, now: datetime) -> bool:
    """Mark a poll as queued, unless it is queued or runs."""
    following = now + timedelta(seconds=settings.POLL_SECONDS)
    waiting = Batch.unscoped.filter(pk=batch_id, poll_queued_at=None, poll_started_at=None)
    return bool(waiting.update(poll_queued_at=now, next_poll_at=following))


def _in_turns(due: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """One batch of each account, then the second of each, and so on; within an account in the given order."""
    own: dict[int, list[int]] = {}
    for batch_id, account_id in due:
        own.setdefault(account_id, []).append(batch_id)
    for round_of_polls in itertools.zip_longest(*own.values()):
        yield from (
            (batch_id, account_id)
            for account_id, batch_id in zip(own, round_of_polls, strict=True)
            if batch_id is not None
        )


def _take_back(now: datetime) -> None:
    """Polls that were killed count as a fault of the connection; messages that were lost are forgotten."""
    killed = Batch.unscoped.filter(poll_started_at__lt=now - timedelta(seconds=MOST_SECONDS + GRACE_SECONDS))
    for batch in killed.select_related("connection"):
        taken = Batch.unscoped.filter(pk=batch.pk, poll_started_at=batch.poll_started_at)
        if taken.update(poll_started_at=None) and batch.connection_id is not None:
            logger.warning("batch %s: a poll did not end", batch.uid)
            connection_backoff.note(batch.connection_id, TimedOut(batch.input_path), now)
    lost = Batch.unscoped.filter(poll_queued_at__lt=now - timedelta(seconds=LOST_SECONDS))
    lost.update(poll_queued_at=None)


def poll(batch_id: int) -> int:
    """Look at the input path once; returns how many tasks were made. Never twice at a time.

    A storage error turns the batch to Error, a successful poll back to Normal.
    """
    started = timezone.now()
    idle = Batch.unscoped.filter(pk=batch_id, poll_started_at=None)
    if not idle.update(poll_queued_at=None, poll_started_at=started):
        return 0
    try:
        return _poll_alone(batch_id)
    finally:
        Batch.unscoped.filter(pk=batch_id, poll_started_at=started).update(poll_started_at=None)


def _poll_alone(batch_id: int) -> int:
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
    found = within_time(walk(store, batch.input_path, skipped, unusable.add), MOST_SECONDS)
    for chunk in _chunks(found, CHUNK):
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


def within_time(files: Iterable[StoredFile], seconds: float) -> Iterator[StoredFile]:
    """The same files. Raises TimedOut once listing them has taken so long altogether."""
    end = time.monotonic() + seconds
    for file in files:
        if time.monotonic() > end:
            raise TimedOut(file.key)
        yield file


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
