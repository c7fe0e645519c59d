"""Polling: from an input path to tasks.

A poll lists the input path level by level and never descends into folders of finished inputs, so that its
cost follows what is waiting, not what was ever done. A media file becomes a task once two polls have seen
the same size and version and it has not changed for the settle time: by the storage's own clock, or by ours,
so that a file whose time lies in the future settles too. What is left alone is kept with its reason
(:mod:`batches.intake.left_alone`).

The pause between polls is the batch's own, or the portal's, which grows up to `LONGEST_PAUSE` where no file
comes. A notification or *Look now* polls at once.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.intake import left_alone
from batches.models import Batch, ConnectionBackoff, PendingFile, ProcessedFolder, Task
from batches.models.batch import BatchQuerySet
from batches.status import batch_status, connection_backoff
from batches.status.failures import failure_of
from speechportal.platform import logs, queue
from speechportal.storage.backends.base import Folder, ObjectStore, StoredFile
from speechportal.storage.errors import AccessDenied, FolderMissing, InvalidKey, StorageError, TimedOut

logger = logging.getLogger(__name__)

CHUNK = 1000
JOB = "batches.operations.jobs.poll"
MAX_DEPTH = 50
MOST_SECONDS = 240  # of a poll altogether; below the timeout of the queue's short cluster
GRACE_SECONDS = 120  # … after which a poll that has not ended was killed
LOST_SECONDS = 1800  # after which a message that nobody has worked off is taken for lost
UNREADABLE = (AccessDenied, FolderMissing, InvalidKey)  # of a folder below the input path

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
QUIET_POLLS = 20  # Polls in a row without a file, after which the pause begins to grow.
LONGEST_PAUSE = 300  # seconds


def is_media(key: str) -> bool:
    """Whether a key may be a media file's: by its ending, or because it has none."""
    ending = PurePosixPath(key).suffix.lower()
    return ending in MEDIA_ENDINGS or not ending


def reason_to_leave(key: str) -> str:
    """Why a file is left alone; empty for one that is taken."""
    if left_alone.is_housekeeping(key):
        return left_alone.HOUSEKEEPING
    return "" if is_media(key) else left_alone.ENDING


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
    batch = Batch.unscoped.only("poll_seconds", "quiet_polls").filter(pk=batch_id).first()
    if batch is None:
        return False
    following = now + timedelta(seconds=pause_of(batch))
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


def pause_of(batch: Batch) -> int:
    """Seconds to the next poll: twice as many for each `QUIET_POLLS` polls that found nothing."""
    if batch.poll_seconds:
        return batch.poll_seconds
    usual = int(settings.POLL_SECONDS)
    factor: int = 2 ** min(batch.quiet_polls // QUIET_POLLS, 10)
    return max(usual, min(usual * factor, LONGEST_PAUSE))


def hasten(batch: Batch) -> None:
    """Let the next run of the scheduler poll the input path."""
    Batch.unscoped.filter(pk=batch.pk).update(next_poll_at=timezone.now(), quiet_polls=0)


def look_now(batch: Batch) -> None:
    """Poll the input path at once. Raises ``ValidationError`` for a batch that is not polled at present."""
    if not pollable(timezone.now()).filter(pk=batch.pk).exists():
        sentence = _(
            "The input path is not looked at now: the batch is paused, or its storage does not answer."
        )
        raise ValidationError(sentence, code="not_polled")
    hasten(batch)
    wake(batch.pk)


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
    found = created or PendingFile.unscoped.filter(batch=batch).exists()
    quiet = 0 if found else min(batch.quiet_polls + 1, 10_000)
    Batch.unscoped.filter(pk=batch.pk).update(polled_at=timezone.now(), quiet_polls=quiet)
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
    left = left_alone.LeftAlone()
    found = within_time(walk(store, batch.input_path, skipped, left), MOST_SECONDS)
    for chunk in _chunks(found, CHUNK):
        created += _take(batch, chunk, store.server_time())
    # What this poll did not see is gone: it was renamed, removed or replaced before it settled.
    PendingFile.unscoped.filter(batch=batch, seen_at__lt=poll_started).delete()
    left.note(batch)
    return created


def is_watched(batch: Batch, key: str) -> bool:
    """Whether a poll would take a file of this key."""
    below = key.removeprefix(batch.input_path)
    aside = any(folder and key.startswith(folder) for folder in _folders_to_skip(batch) - {batch.input_path})
    inside = key.startswith(batch.input_path) and below.count("/") < MAX_DEPTH
    return inside and not aside and is_media(key) and not left_alone.is_housekeeping_below(below)


def take_whole(batch: Batch, files: list[StoredFile]) -> int:
    """Make tasks of files that are known to be whole, without waiting for them to settle."""
    if not files or not pollable(timezone.now()).filter(pk=batch.pk).exists():
        return 0
    with transaction.atomic():
        locked = Batch.unscoped.select_for_update(no_key=True).get(pk=batch.pk)
        if locked.is_deleted:
            return 0
        known = _known(batch, [file.key for file in files])
        fresh = {file.key: file for file in files if (file.key, file.version) not in known}
        PendingFile.unscoped.filter(batch=batch, key__in=fresh).delete()
        create_tasks(locked, list(fresh.values()))
    if fresh:
        queue.wake_recognition(len(fresh))
    return len(fresh)


def _folders_to_skip(batch: Batch) -> set[str]:
    folders = ProcessedFolder.unscoped.filter(
        connection=batch.connection_id, path__startswith=batch.input_path
    ).exclude(path=batch.input_path)
    return {batch.folder, batch.result_path, *folders.values_list("path", flat=True)}


def walk(
    store: ObjectStore, path: str, skipped: set[str], left: left_alone.LeftAlone | None = None
) -> Iterator[StoredFile]:
    """Yield media files below ``path``, level by level, without the folders in ``skipped``.

    ``left`` collects what is left alone. A folder below ``path`` that cannot be read is one of these.
    """
    left = left or left_alone.LeftAlone()
    level = [path]
    for _depth in range(MAX_DEPTH):
        below: list[str] = []
        for folder in level:
            yield from _walk_level(store, folder, skipped, left, below, is_top=folder == path)
        if not below:
            return
        level = below
    for folder in level:
        left.add(left_alone.NAME, folder)


def _walk_level(
    store: ObjectStore,
    folder: str,
    skipped: set[str],
    left: left_alone.LeftAlone,
    below: list[str],
    *,
    is_top: bool,
) -> Iterator[StoredFile]:
    def unusable(name: str) -> None:
        if name.endswith("/") or is_media(name):
            left.add(left_alone.NAME, name)

    try:
        for entry in store.list_level(folder, unusable):
            if isinstance(entry, Folder):
                if left_alone.is_housekeeping(entry.path):
                    left.add(left_alone.HOUSEKEEPING, entry.path)
                elif entry.path not in skipped:
                    below.append(entry.path)
            elif reason := reason_to_leave(entry.key):
                left.add(reason, entry.key)
            else:
                yield entry
    except UNREADABLE:
        if is_top:
            raise
        left.add(left_alone.UNREADABLE, folder)


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


def _known(batch: Batch, keys: list[str]) -> dict[tuple[str, str], Task]:
    """The tasks of these inputs, by key and version."""
    tasks = Task.unscoped.filter(batch=batch, original=None, input_key__in=keys).order_by()
    columns = tasks.only("pk", "input_key", "input_version", "state", "moved_at", "notice")
    return {(task.input_key, task.input_version): task for task in columns}


def _free_versions(returned: list[Task]) -> None:
    """Let finished inputs that were moved back into the input path be inputs once more."""
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
        update_fields=["version", "size", "modified_at", "since", "seen_at"],
    )


def create_tasks(batch: Batch, files: list[StoredFile], put_back: Collection[str] = ()) -> None:
    """One task for each of ``files``, which have none yet. The caller holds the lock on the batch's row.

    ``put_back`` are the keys of those that were recognised before and moved back.
    """
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
            notice=Task.Notice.PUT_BACK if file.key in put_back else Task.Notice.NONE,
        )
        for order, file in enumerate(files, start=first)
    )
    batch.last_task_order += len(files)
    Batch.unscoped.filter(pk=batch.pk).update(last_task_order=batch.last_task_order)
