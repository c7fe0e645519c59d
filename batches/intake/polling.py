"""Polling: lists a batch's input path and creates tasks for new files.

A poll lists the input path level by level and never descends into folders of finished inputs, so that its
cost depends on the number of waiting files, not of processed ones (:mod:`batches.intake.input_path`). A media
file becomes a task once two polls have seen the same size and version and it has not changed for the settle
time, by the storage's clock or by ours, so that a file with a time in the future settles too
(:mod:`batches.intake.new_tasks`). Files without an extension are detected by their first bytes
(:mod:`batches.intake.first_bytes`). Skipped files are stored with the reason
(:mod:`batches.intake.left_alone`).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial

from django.db import DatabaseError, connections
from django.utils import timezone

from batches.intake import first_bytes, left_alone
from batches.intake.input_path import folders_to_skip, walk, within_time
from batches.intake.new_tasks import moved_away, take_settled, tasks_of
from batches.intake.poll_schedule import HEARTBEAT_SECONDS, MOST_SECONDS, pollable
from batches.models import Batch, ConnectionBackoff, PendingFile, Task
from batches.status import batch_status, connection_backoff
from batches.status.failures import failure_of
from speechportal.platform import database_clock, logs, queue
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.errors import StorageError

logger = logging.getLogger(__name__)

CHUNK = 1000  # files per transaction


class RunningPoll:
    """Lease of a running poll on its batch. A thread sends heartbeats, so that a killed poll is detected.

    They are times of the database's clock, with which the scheduler compares them.
    """

    def __init__(self, batch_id: int) -> None:
        self._batch_id = batch_id
        self._heartbeat = database_clock.now()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def start(self, *, queued: bool = False) -> bool:
        """Mark the poll as running. False if another is running or if the ``queued`` poll has already run."""
        idle = Batch.unscoped.filter(pk=self._batch_id, poll_heartbeat_at=None)
        if queued:
            idle = idle.exclude(poll_queued_at=None)
        if not idle.update(poll_queued_at=None, poll_heartbeat_at=self._heartbeat):
            return False
        threading.Thread(target=self._renew, name="poll-heartbeat", daemon=True).start()
        return True

    def end(self) -> None:
        self._ended.set()
        self._replace(None)

    def _renew(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(DatabaseError):  # The next heartbeat may succeed.
                self._replace(database_clock.now())
        connections.close_all()

    def _replace(self, heartbeat: datetime | None) -> None:
        with self._lock:
            own = Batch.unscoped.filter(pk=self._batch_id, poll_heartbeat_at=self._heartbeat)
            if own.update(poll_heartbeat_at=heartbeat) and heartbeat is not None:
                self._heartbeat = heartbeat


def poll(batch_id: int, *, queued: bool = False) -> int:
    """Poll the input path once; returns how many tasks were created. Only one poll of a batch runs at a time.

    ``queued``: called for a queue message, which may be delivered twice. A storage error sets the batch to
    Error; a successful poll sets it back to Normal.
    """
    running = RunningPoll(batch_id)
    if not running.start(queued=queued):
        return 0
    try:
        return _poll_alone(batch_id)
    finally:
        running.end()


def _poll_alone(batch_id: int) -> int:
    batch = pollable(timezone.now()).select_related("connection").filter(pk=batch_id).first()
    if batch is None or batch.connection is None:
        return 0
    logs.bind(batch=batch.uid)
    connection_backoff.admit(batch.connection_id)
    try:
        with connection_backoff.watched(batch.connection.pk):
            created = _list_and_take(batch, batch.connection.store())
    except StorageError as error:
        logger.warning("batch %s: poll failed: %s", batch.uid, error.code)
        _report_error(batch, error)
        return 0
    batch_status.after_successful_poll(batch.pk)
    arriving = PendingFile.unscoped.filter(batch=batch).exclude(is_media=False)
    found = created or arriving.exists()
    quiet = 0 if found else min(batch.quiet_polls + 1, 10_000)
    Batch.unscoped.filter(pk=batch.pk).update(polled_at=timezone.now(), quiet_polls=quiet)
    if created:
        queue.wake_recognition(created)
    return created


def _report_error(batch: Batch, error: StorageError) -> None:
    """Set the batch to Error. A transient error is announced only after several polls."""
    backoff = ConnectionBackoff.unscoped.filter(connection=batch.connection_id).first()
    often = backoff is not None and backoff.failures >= connection_backoff.TOLERATED
    if often or not connection_backoff.passes_by_itself(error):
        batch_status.set_error(batch.pk, failure_of(error))


def _list_and_take(batch: Batch, store: ObjectStore) -> int:
    poll_started = timezone.now()
    skipped = folders_to_skip(batch)
    created = 0
    left = left_alone.LeftAlone()
    found = within_time(walk(store, batch.input_path, skipped, left), MOST_SECONDS)
    reader = first_bytes.Reader(batch, store, left)
    for chunk in _chunks(found, CHUNK):
        inputs = _without_processed(batch, store, _without_stale(batch, store, chunk), left)
        files = reader.without_others(inputs, partial(tasks_of, batch, chunk))
        created += take_settled(batch, files, store.server_time())
    # Files that this poll did not list were renamed, removed or replaced before they settled.
    PendingFile.unscoped.filter(batch=batch, seen_at__lt=poll_started).delete()
    left.note(batch)
    return created


def _without_stale(batch: Batch, store: ObjectStore, files: list[StoredFile]) -> list[StoredFile]:
    """Filter out files that tasks have moved: a listing may be stale, so each is looked up in the storage."""
    moved = moved_away(batch, files)
    gone = {file.key for file in files if file.key in moved and not _is_there(store, file)}
    return [file for file in files if file.key not in gone]


def _without_processed(
    batch: Batch, store: ObjectStore, files: list[StoredFile], left: left_alone.LeftAlone
) -> list[StoredFile]:
    """Filter out finished inputs that another installation has moved from this batch's folder to its own.

    Otherwise two installations on one path would take each other's finished inputs for ever.
    """
    own = f"/{batch.folder.rstrip('/').rpartition('/')[2]}/"
    origins: dict[str, str] = {}  # where each file was if it was this batch's
    for file in files:
        other, found, rest = f"/{file.key.removeprefix(batch.input_path)}".partition(own)
        if other and found:
            origins[file.key] = f"{batch.folder}{rest}"
    if not origins:
        return files
    moved = Task.unscoped.filter(batch=batch, moved_key__in=set(origins.values()))
    sizes = dict(moved.values_list("moved_key", "input_size"))
    kept = []
    for file in files:
        origin = origins.get(file.key, "")
        if sizes.get(origin) == file.size and store.stat(origin) is None:
            left.add(left_alone.PROCESSED, file.key)
        else:
            kept.append(file)
    return kept


def _is_there(store: ObjectStore, file: StoredFile) -> bool:
    found = store.stat(file.key)
    return found is not None and found.version == file.version


def _chunks(files: Iterable[StoredFile], size: int) -> Iterator[list[StoredFile]]:
    iterator = iter(files)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk
