"""Task processing: all steps of one claimed task to its final state.

download -> recognise -> checkpoint -> separate speakers -> checkpoint -> write results -> finish -> move.
Each checkpoint is redacted and replaced before it is stored.
Every step can be repeated from its start with the same outcome, so a task that was interrupted anywhere
is simply processed again; what was recognised is read from its checkpoint. Network and inference happen
outside of transactions, and heartbeats extend the lease along the way.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from batches.models import StoredTranscript, Task
from batches.models.task import PreparedTranscript
from batches.recognition.errors import EngineDied, EngineStalled, RecognitionError
from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.transcript import Transcript
from batches.status import connection_backoff
from batches.tasks import lifecycle
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.worker import disk_space, muted_copy, outcomes, result_files, workspaces
from batches.worker.engine_options import engine_options
from batches.worker.progress import DOWNLOADED, RECOGNISED, SEPARATED, Progress, Stopping
from batches.worker.workspaces import media_of, workspace_of
from speechportal.platform import logs
from speechportal.storage.errors import NotFound, StorageError

logger = logging.getLogger(__name__)

# A task that failed in one of these ways is recognised alone, so that it takes no other file along.
ALONE_AFTER = frozenset([EngineDied.code, EngineStalled.code])


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
            workspaces.sweep()
            _run(task, workspace, client, Progress(lease, stopping, meanwhile))
        finally:
            client.forget(media_of(task, workspace))
            shutil.rmtree(workspace, ignore_errors=True)
    except LeaseLost:
        logger.warning("task %s: the lease was lost; its new holder goes on", task.uid)
    except CancelRequested:
        outcomes.confirm_cancel(lease, task)
    except Stopping:
        outcomes.release(lease, task)
    except RecognitionError as error:
        outcomes.after_recognition_error(lease, task, error)
    except StorageError as error:
        outcomes.after_storage_error(lease, task, error, began_at)
    except (OperationalError, InterfaceError) as error:
        outcomes.after_database_error(lease, task, error, stopping)
    except Exception as error:  # noqa: BLE001 - whatever it is, the task must not be lost with it
        outcomes.after_unexpected_error(lease, task, error)
    else:
        if task.connection_id is not None:
            connection_backoff.clear(task.connection_id)
        outcomes.move_input(task)


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
