"""Task processing: the pipeline that takes one claimed task to its final state.

download -> recognise -> checkpoint -> diarize -> checkpoint -> write results -> finish -> move.
Each checkpoint is post-processed (replacements, redaction) before it is stored.
Every step is idempotent, so a task that was interrupted at any point is simply processed again; a finished
recognition is read from its checkpoint. Network access and inference happen outside transactions, and
heartbeats extend the lease meanwhile.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from batches.models import StoredTranscript, Task, TaskTrace
from batches.models.stored_transcript import PreparedTranscript
from batches.recognition.errors import EngineDied, EngineStalled, HostExhausted, RecognitionError
from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.transcript import Transcript
from batches.status import connection_backoff
from batches.tasks import lifecycle
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.worker import (
    disk_space,
    keyword_use,
    live_segments,
    muted_copy,
    outcomes,
    result_files,
    workspaces,
)
from batches.worker.engine_options import engine_options
from batches.worker.live_segments import LiveSegments
from batches.worker.progress import DOWNLOADED, RECOGNISED, SEPARATED, Progress, Stopping
from batches.worker.workspaces import media_of, workspace_of
from speechportal.platform import database_errors, logs, tracing
from speechportal.storage.errors import NotFound, StorageError

logger = logging.getLogger(__name__)

# A task that failed in one of these ways is retried alone in its engine, so that it fails no other file, and
# takes less memory.
ALONE_AFTER = frozenset([EngineDied.code, EngineStalled.code, HostExhausted.code])


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
            parent = TaskTrace.parent_of(task.pk)
            with tracing.span("process", parent, task=task.uid, batch=task.batch.uid, attempt=task.attempts):
                _run(task, workspace, client, Progress(lease, stopping, meanwhile))
        finally:
            client.forget(media_of(task, workspace))
            shutil.rmtree(workspace, ignore_errors=True)
    except LeaseLost:
        logger.warning("task %s: lease lost; another worker has claimed the task", task.uid)
    except CancelRequested:
        outcomes.confirm_cancel(lease, task)
    except Stopping:
        outcomes.release(lease, task)
    except RecognitionError as error:
        outcomes.after_recognition_error(lease, task, error)
    except StorageError as error:
        outcomes.after_storage_error(lease, task, error, began_at)
    except Exception as error:  # noqa: BLE001 - after any error the task must be released or failed
        if database_errors.is_of_the_installation(error):
            outcomes.after_database_error(lease, task, error, stopping)
        else:
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
    client.forget(media_of(task, workspace))  # Frees the file's slot at the engine.
    with tracing.span("write result"):
        result_files.write(task, store, transcript, lambda: progress.report(Task.Stage.WRITING, SEPARATED))
    if muted_copy.is_wanted(task, transcript):
        media = fetch(task, workspace, progress)
        progress.report(Task.Stage.WRITING, SEPARATED)
        muted_copy.write(task, store, transcript, media)
    with tracing.span("finish"):
        lifecycle.finish(progress.lease)
    keyword_use.note(task, transcript)


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
    with tracing.span("download", bytes=task.input_size):
        task.connection.store().download(
            task.input_key,
            media,
            if_version=task.input_version,
            limit=min(task.input_size, settings.MAX_MEDIA_BYTES),
            on_progress=lambda done: report(done / size),
        )
    # The storage works again: tasks in back-off need not wait until this file is finished.
    connection_backoff.clear(task.connection.pk)
    return media


def _recognise(task: Task, workspace: Path, client: RecognitionClient, progress: Progress) -> Transcript:
    """Recognise the input, resuming from the checkpoint if there is one. Returns the published transcript."""
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
        live = live_segments.of_task(task, lease)
        on_segments = live.take if live else None
        with tracing.span("recognise", model=task.whisper_model):
            transcript = client.transcribe(media, options, on_progress, alone=alone, on_segments=on_segments)
        stage = StoredTranscript.Stage.WORDS
        published = _keep(task, lease, transcript, stage, final=not options.speakers, live=live)
    if options.speakers:
        on_progress = progress.within(Task.Stage.SEPARATING_SPEAKERS, RECOGNISED, SEPARATED)
        with tracing.span("separate speakers", model=task.speaker_model):
            transcript = client.add_speakers(media, transcript, options, on_progress, alone=alone)
        published = _keep(task, lease, transcript, StoredTranscript.Stage.SPEAKERS, final=True)
    return published


def _keep(
    task: Task,
    lease: Lease,
    transcript: Transcript,
    stage: str,
    *,
    final: bool,
    live: LiveSegments | None = None,
) -> Transcript:
    """Post-process a transcript and store it as a checkpoint. Returns the published transcript."""
    assert task.settings is not None  # noqa: S101 - a constraint of the database
    stored = PreparedTranscript.of(task, transcript, task.settings, final=final)
    if live is not None:
        live.finish(stored.published)
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
