"""Task processing: all steps of one claimed task to its final state.

download -> recognise -> checkpoint -> separate speakers -> checkpoint -> write results -> finish -> move.
Each checkpoint is redacted and replaced before it is stored.
Every step can be repeated from its start with the same outcome, so a task that was interrupted anywhere
is simply processed again; what was recognised is read from its checkpoint. Network and inference happen
outside of transactions, and heartbeats extend the lease along the way.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from batches.models import Batch, StoredTranscript, Task
from batches.models.task import PreparedTranscript
from batches.recognition.errors import (
    EngineDied,
    EngineStalled,
    ModelUnavailable,
    RecognitionError,
    WorkDiskFull,
    WorkFolderUnwritable,
)
from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.transcript import Transcript
from batches.status import batch_status, connection_backoff, failures
from batches.status.failures import Failure, Level, failure_of
from batches.tasks import lifecycle, model_hosts
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.tasks.model_hosts import HostFault
from batches.tasks.scheduling import PROBE
from batches.worker import disk_space, moving, muted_copy, result_files, work_folder
from batches.worker.engine_options import engine_options
from domains.offered_models import ModelPair
from speechportal.platform import logs
from speechportal.storage.errors import (
    AccessDenied,
    Changed,
    NotFound,
    ObjectError,
    StorageError,
    StorageFault,
)

logger = logging.getLogger(__name__)

# How the stages share a task's progress, in per cent.
DOWNLOADED, RECOGNISED, SEPARATED = 5, 75, 95
# A task that failed in one of these ways is recognised alone, so that it takes no other file along.
ALONE_AFTER = frozenset([EngineDied.code, EngineStalled.code])
DATABASE_DELAYS = 10  # releases after which a database error counts as the task's own: about two hours
DATABASE_PAUSE = 2.0  # seconds between two attempts to write to a failing database
LAST_SECONDS = 60.0  # of recognition, in which the next file is fetched


class Stopping(Exception):
    """The worker was asked to stop; the task is released."""


class Progress:
    """Sends progress as heartbeats, throttled: within the lease time, and not more often than useful.

    Raises Stopping, LeaseLost or CancelRequested in :meth:`report`. ``meanwhile`` is called about once a
    second in the last minute of recognition, as far as that can be estimated.
    """

    def __init__(
        self, lease: Lease, stopping: Callable[[], bool], meanwhile: Callable[[], None] | None = None
    ) -> None:
        self.lease = lease
        self.stopping = stopping
        self.meanwhile = meanwhile
        self._recognising_since: float | None = None
        self.interval = min(settings.LEASE_SECONDS / 6, 5.0)
        self._last_at = 0.0
        self._last: tuple[str, int] = ("", -1)

    def report(self, stage: str, percent: float) -> None:
        """Report a stage and its progress; called about once a second, also without a change."""
        if self.stopping():
            raise Stopping
        now, state = time.monotonic(), (stage, min(int(percent), 99))
        due = self.interval if state == self._last else min(self.interval, 1.0)
        if state[0] != self._last[0] or now - self._last_at >= due:
            lifecycle.heartbeat(self.lease, *state)
            self._last_at, self._last = now, state
        if self.meanwhile and self._seconds_left(stage, percent, now) < LAST_SECONDS:
            self.meanwhile()

    def _seconds_left(self, stage: str, percent: float, now: float) -> float:
        """Estimated seconds until recognition ends; infinite before there is any progress."""
        if stage not in (Task.Stage.RECOGNISING, Task.Stage.SEPARATING_SPEAKERS):
            return math.inf
        self._recognising_since = self._recognising_since or now
        done = percent - DOWNLOADED
        passed = now - self._recognising_since
        return passed * (SEPARATED - percent) / done if done > 0 and passed > 0 else math.inf

    def within(self, stage: str, start: float, end: float) -> Callable[[float], None]:
        """Return a callback that takes 0..1 and reports it as ``start``..``end`` per cent of the task."""
        return lambda fraction: self.report(stage, start + (end - start) * min(max(fraction, 0.0), 1.0))


def process(
    lease: Lease,
    client: RecognitionClient,
    stopping: Callable[[], bool],
    meanwhile: Callable[[], None] | None = None,
) -> None:
    """Process a claimed task until it is finished, failed, cancelled or released.

    ``meanwhile`` is as in :class:`Progress`.
    """
    task = Task.unscoped.select_related("connection", "batch", "account").get(pk=lease.task_id)
    logs.bind(account=task.account.uid, batch=task.batch.uid, task=task.uid)
    began_at = timezone.now()
    workspace = workspace_of(task, lease)
    try:
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            sweep_workspaces()
            _run(task, workspace, client, Progress(lease, stopping, meanwhile))
        finally:
            client.forget(media_of(task, workspace))
            shutil.rmtree(workspace, ignore_errors=True)
    except LeaseLost:
        logger.warning("task %s: the lease was lost; its new holder goes on", task.uid)
    except CancelRequested:
        confirm_cancel(lease, task)
    except Stopping:
        _give_back(lease, task, None, count_attempt=False)
    except RecognitionError as error:
        _handle_recognition_error(lease, task, error)
    except StorageError as error:
        _handle_storage_error(lease, task, error, began_at)
    except (OperationalError, InterfaceError) as error:
        _handle_database_error(lease, task, error, stopping)
    except Exception as error:  # noqa: BLE001 - whatever it is, the task must not be lost with it
        _handle_unexpected(lease, task, error)
    else:
        if task.connection_id is not None:
            connection_backoff.clear(task.connection_id)
        _move(task)


def workspace_of(task: Task, lease: Lease) -> Path:
    """Folder on this machine for the lease holder's files of the task."""
    folder: Path = settings.WORK_DIR / f"{task.uid}.{lease.token.hex[:8]}"
    return folder


def media_of(task: Task, workspace: Path) -> Path:
    """Path that the task's input is downloaded to."""
    return workspace / f"input{PurePosixPath(task.input_key).suffix.lower()}"


def sweep_workspaces() -> None:
    """Remove the workspaces of workers on this machine that were killed."""
    for folder in settings.WORK_DIR.glob("tsk_*.*"):
        uid, _, token = folder.name.partition(".")
        leases = Task.unscoped.filter(uid=uid, state__in=Task.LEASED).values_list("lease_token", flat=True)
        if not any(lease and lease.hex.startswith(token) for lease in leases):
            shutil.rmtree(folder, ignore_errors=True)


def _run(task: Task, workspace: Path, client: RecognitionClient, progress: Progress) -> None:
    assert task.settings is not None  # noqa: S101 - a constraint of the database
    if task.connection is None:
        raise NotFound(task.input_key)
    store = task.connection.store()
    transcript = _recognise(task, workspace, client, progress)
    client.forget(media_of(task, workspace))  # Another file may have its place at the engine.
    result_files.write(task, store, transcript, lambda: progress.report(Task.Stage.WRITING, SEPARATED))
    if muted_copy.is_wanted(task, transcript):
        media = fetch(task, workspace, progress)
        progress.report(Task.Stage.WRITING, SEPARATED)
        muted_copy.write(task, store, transcript, media)
    lifecycle.finish(progress.lease)


def fetch(task: Task, workspace: Path, progress: Progress) -> Path:
    """Download the input to the workspace, unless prefetching did; returns its path."""
    media = media_of(task, workspace)
    if media.exists():
        return media
    if task.connection is None:
        raise NotFound(task.input_key)
    workspace.mkdir(parents=True, exist_ok=True)
    disk_space.require(task.input_size)
    size = max(task.input_size, 1)
    report = progress.within(Task.Stage.DOWNLOADING, 0, DOWNLOADED)
    task.connection.store().download(
        task.input_key,
        media,
        if_version=task.input_version,
        limit=min(task.input_size, settings.MAX_MEDIA_BYTES),
        on_progress=lambda done: report(done / size),
    )
    # The storage answers: tasks that wait for it need not wait for this file's end.
    connection_backoff.clear(task.connection.pk)
    return media


def _recognise(task: Task, workspace: Path, client: RecognitionClient, progress: Progress) -> Transcript:
    """Recognise the input, continuing from the checkpoint if there is one. Returns what may be shown."""
    lease, options = progress.lease, options_of(task)
    checkpoint = StoredTranscript.unscoped.filter(task=task).first()
    if checkpoint and (checkpoint.stage == StoredTranscript.Stage.SPEAKERS or not options.speakers):
        return checkpoint.published()
    transcript = checkpoint.recognised() if checkpoint else None

    media = fetch(task, workspace, progress)
    alone = task.error_code in ALONE_AFTER
    if transcript is None:
        end = RECOGNISED if options.speakers else SEPARATED
        on_progress = progress.within(Task.Stage.RECOGNISING, DOWNLOADED, end)
        transcript = client.transcribe(media, options, on_progress, alone=alone)
        published = _keep(task, lease, transcript, StoredTranscript.Stage.WORDS, final=not options.speakers)
    if options.speakers:
        on_progress = progress.within(Task.Stage.SEPARATING_SPEAKERS, RECOGNISED, SEPARATED)
        transcript = client.add_speakers(media, transcript, options, on_progress, alone=alone)
        published = _keep(task, lease, transcript, StoredTranscript.Stage.SPEAKERS, final=True)
    return published


def _keep(task: Task, lease: Lease, transcript: Transcript, stage: str, *, final: bool) -> Transcript:
    """Store a checkpoint, redacted and replaced. Returns the transcript as it may be shown."""
    assert task.settings is not None  # noqa: S101 - a constraint of the database
    stored = PreparedTranscript.of(task, transcript, task.settings, final=final)
    lifecycle.checkpoint(
        lease, stored.document, stage, media_duration=transcript.duration, original=stored.original
    )
    return stored.published


def options_of(task: Task) -> Options:
    """Engine options of the task."""
    assert task.settings is not None  # noqa: S101 - a constraint of the database
    return engine_options(
        task.settings.recognition,
        keywords=task.settings.keywords,
        max_duration_ms=settings.MAX_MEDIA_SECONDS * 1000,
        max_bytes=settings.MAX_MEDIA_BYTES,
    )


def _move(task: Task) -> None:
    """Move the input of a task in its final state; after an error the scheduler repeats the move."""
    try:
        moving.move_input(task.pk)
    except StorageError as error:
        logger.warning("task %s: the input is not moved yet: %s", task.uid, error.code)


def confirm_cancel(lease: Lease, task: Task) -> None:
    """Confirm a cancellation that the worker has noticed, and move the input."""
    lifecycle.confirm_cancel(lease)
    _move(task)


def give_back(lease: Lease, forget: Callable[[Path], None]) -> None:
    """Release a task that was claimed and not started. ``forget`` is called with the path of its input."""
    task = Task.unscoped.select_related("connection").get(pk=lease.task_id)
    workspace = workspace_of(task, lease)
    forget(media_of(task, workspace))
    shutil.rmtree(workspace, ignore_errors=True)
    _give_back(lease, task, None, count_attempt=False)


def _give_back(lease: Lease, task: Task, failure: Failure | None, *, count_attempt: bool) -> None:
    try:
        lifecycle.release(lease, failure, count_attempt=count_attempt)
    except CancelRequested:
        confirm_cancel(lease, task)
    except LeaseLost:
        pass


def _fail(lease: Lease, task: Task, failure: Failure) -> None:
    try:
        lifecycle.fail(lease, failure)
    except CancelRequested:
        lifecycle.confirm_cancel(lease)
    except LeaseLost:
        return
    _move(task)


def _handle_recognition_error(lease: Lease, task: Task, error: RecognitionError) -> None:
    failure = failure_of(error)
    logger.warning("task %s: %s: %s", task.uid, error.code, error.message)
    if isinstance(error, ModelUnavailable):
        pair = ModelPair(task.whisper_model, task.speaker_model)
        model_hosts.note_problem(pair, str(error.details.get("name", "")), error.message)
    elif error.code in failures.HOST_FAULTS:
        model_hosts.note_fault(HostFault(error.code, error.message))
    # The operator has to mend the installation; any other fault may be the file's and counts an attempt.
    counts = failure.reason is None or failure.reason.level is not Level.INSTALLATION
    if error.permanent or (counts and task.attempts >= settings.MAX_ATTEMPTS):
        _fail(lease, task, failure)
    else:
        _give_back(lease, task, failure, count_attempt=counts)


def _handle_storage_error(lease: Lease, task: Task, error: StorageError, began_at: datetime) -> None:
    logger.warning("task %s: storage: %s", task.uid, error.code)
    if isinstance(error, (NotFound, Changed)):
        try:
            failure = _what_became_of_the_input(task)
        except StorageError as second:
            error = second
        else:
            _fail(lease, task, failure)
            return
    if type(error) is AccessDenied and _others_can_be_read(task):
        error = ObjectError(error.key, answer=error.answer)
    failure = failure_of(error)
    if isinstance(error, ObjectError):
        _fail(lease, task, failure)
        return
    if task.connection_id is not None:
        connection_backoff.note(task.connection_id, error, began_at)
    if error.permanent:
        batch_status.set_error(task.batch_id, failure)
        Batch.unscoped.filter(pk=task.batch_id).update(held_until=timezone.now() + PROBE)
    _give_back(lease, task, failure, count_attempt=False)


def _others_can_be_read(task: Task) -> bool:
    """Whether a file of ours can be written, read and moved: then it is this input that is not readable."""
    if task.connection is None or task.settings is None:
        return False
    try:
        findings = task.connection.store().check(task.settings.result_path)
    except StorageError:
        return False
    return all(finding.ok for finding in findings)


def _what_became_of_the_input(task: Task) -> Failure:
    """Failure reason of an input that the storage does not find. Raises StorageFault if it exists after all.

    One wrong answer of a storage must not fail a task, so it is asked twice.
    """
    looks = [task.connection.store().stat(task.input_key) for _ in range(2)] if task.connection else []
    if not any(looks):
        return failures.failure("input_missing")
    versions = {look.version if look else "" for look in looks}
    if len(versions) > 1 or task.input_version in versions:
        raise StorageFault(task.input_key)
    return failures.failure("input_replaced")


def _handle_database_error(lease: Lease, task: Task, error: Exception, stopping: Callable[[], bool]) -> None:
    """Release the task once the database, which was down, locked or full, accepts writes again.

    Gives up when the lease has expired: the periodic job then reaps the task.
    """
    logger.error("task %s: the database: %s", task.uid, type(error).__name__)
    failure = failures.failure("database_fault")
    counts = task.delays >= DATABASE_DELAYS
    if counts and task.attempts >= settings.MAX_ATTEMPTS:
        _fail(lease, task, failure)
        return
    end = time.monotonic() + settings.LEASE_SECONDS
    while True:
        try:
            _give_back(lease, task, failure, count_attempt=counts)
        except (OperationalError, InterfaceError):
            if time.monotonic() > end or stopping():
                raise
            connection.close()
            time.sleep(DATABASE_PAUSE)
        else:
            return


def _handle_unexpected(lease: Lease, task: Task, error: Exception) -> None:
    if disk_space.is_lacking(error):
        logger.error("task %s: no space left in the work folder", task.uid)
        model_hosts.note_fault(HostFault(WorkDiskFull.code, WorkDiskFull().message))
        _give_back(lease, task, failure_of(WorkDiskFull()), count_attempt=False)
        return
    if work_folder.is_not_writable(error):
        logger.error("task %s: the work folder cannot be written: %s", task.uid, error)
        model_hosts.note_fault(HostFault(WorkFolderUnwritable.code, str(error)))
        _give_back(lease, task, failure_of(WorkFolderUnwritable()), count_attempt=False)
        return
    logger.error("task %s: unexpected error", task.uid, exc_info=error)
    failure = failures.failure("internal_error", error=type(error).__name__)
    if task.attempts >= settings.MAX_ATTEMPTS:
        _fail(lease, task, failure)
    else:
        _give_back(lease, task, failure, count_attempt=True)
