"""Execution results: CSV reports of ten finished tasks, or fewer once a batch has been idle."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from batches.models import Batch, ExecutionResult, PendingFile, StoredTranscript, Task, object_names
from batches.models.batch import CSV_COLUMN_TITLES
from batches.recognition.transcript import Transcript
from batches.status import connection_backoff
from batches.webhooks import outbox
from batches.webhooks.events import ExecutionResultCreated
from speechportal.platform import queue
from speechportal.platform.http import neutral
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.errors import StorageError

COLUMNS = [
    "task order",
    "input file name",
    "result file name",
    "recognition duration",
    "start time",
    "completion time",
    "execution result",
    "cause",
    "media duration",
    "task ID",
    "confidence",
    "no-speech share",
    "mean log-probability",
    "flags",
]
# Optional columns at the end (Batch.csv_columns), each with the function for its value.
OPTIONAL_COLUMNS: dict[str, Callable[[Task, Transcript | None], str]] = {
    "whisper_model": lambda task, _transcript: task.whisper_model,
    "speaker_model": lambda task, _transcript: task.speaker_model,
    "language": lambda _task, transcript: transcript.language if transcript else "",
    "speakers": lambda _task, transcript: str(len(transcript.speakers)) if transcript else "",
    "segments": lambda _task, transcript: str(len(transcript.segments)) if transcript else "",
    "input_size": lambda task, _transcript: str(task.input_size),
}
LEASE = timedelta(minutes=1)  # after which a writer is presumed dead


def collect(batch: Batch, *, at_least: int) -> ExecutionResult | None:
    """Create an execution result of up to ten unreported tasks. The caller holds the batch's row lock.

    ``None`` if fewer than ``at_least`` are unreported.
    """
    unreported = Task.unscoped.filter(batch=batch, execution_result=None, state__in=Task.REPORTED)
    ids = list(
        unreported.order_by("finished_at", "pk").values_list("pk", flat=True)[
            : settings.TASKS_PER_EXECUTION_RESULT
        ]
    )
    if not ids or len(ids) < at_least:
        return None
    batch.refresh_from_db(fields=["last_execution_result", "connection"])
    result = ExecutionResult.unscoped.create(
        account_id=batch.account_id,
        batch=batch,
        connection_id=batch.connection_id or Task.unscoped.get(pk=ids[0]).connection_id,
        number=batch.last_execution_result + 1,
        task_count=len(ids),
        due_at=timezone.now() + timedelta(minutes=1),  # in case the message below is lost
    )
    Batch.unscoped.filter(pk=batch.pk).update(last_execution_result=result.number)
    Task.unscoped.filter(pk__in=ids).update(execution_result=result)
    queue.enqueue("batches.operations.jobs.write_execution_result", result.pk)
    return result


def collect_idle() -> int:
    """Report the remaining finished tasks of batches that have been idle; returns how many reports."""
    tasks = Task.unscoped.filter(batch=OuterRef("pk"))
    idle = Batch.unscoped.filter(
        Exists(tasks.filter(execution_result=None, state__in=Task.REPORTED)),
        ~Exists(tasks.filter(state__in=[Task.State.WAITING, *Task.LEASED])),
        ~Exists(PendingFile.unscoped.filter(batch=OuterRef("pk")).exclude(is_media=False)),
        last_finished_at__lte=timezone.now() - timedelta(seconds=settings.IDLE_SECONDS),
    )
    collected = 0
    for batch_id in idle.values_list("pk", flat=True):
        with transaction.atomic():
            batch = Batch.unscoped.select_for_update(no_key=True).get(pk=batch_id)
            # Full reports were collected as they filled up; usually fewer than ten tasks remain.
            while collect(batch, at_least=1):
                collected += 1
    return collected


def due() -> list[int]:
    """IDs of execution results with an unwritten file whose next attempt is due."""
    return list(overdue(timezone.now()).order_by("due_at").values_list("pk", flat=True)[:1000])


def overdue(now: datetime) -> QuerySet[ExecutionResult]:
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    return ExecutionResult.unscoped.filter(~Exists(blocked), written_at=None, due_at__lte=now)


def write(result_id: int) -> None:
    """Write the file. Repeatable: the key is reserved once, the content follows from committed rows."""
    result = (
        ExecutionResult.unscoped.select_related("batch", "connection")
        .filter(pk=result_id, written_at=None)
        .first()
    )
    if result is None or result.connection is None:
        return
    attempts = result.attempts + 1
    mine = ExecutionResult.unscoped.filter(pk=result.pk)
    mine.update(attempts=attempts, due_at=timezone.now() + LEASE)
    connection_backoff.admit(result.connection.pk)
    try:
        with connection_backoff.watched(result.connection.pk):
            _write(result, result.connection.store())
    except StorageError:
        mine.update(due_at=timezone.now() + timedelta(seconds=min(5 * 2**attempts, 3600)))
        raise


def _write(result: ExecutionResult, store: ObjectStore) -> None:
    if not result.key:
        name = f"{result.batch.name}-execution-result-{result.number:05d}.csv"

        def save(key: str) -> None:
            ExecutionResult.unscoped.filter(pk=result.pk, key="").update(key=key)

        names = object_names.candidates(result.batch.result_path, name, part_bytes=store.part_bytes)
        object_names.reserve(names, lambda key: store.stat(key) is not None, save)
        result.refresh_from_db(fields=["key"])
    store.put(result.key, render(result), content_type="text/csv")
    now = timezone.now()
    with transaction.atomic():
        if ExecutionResult.unscoped.filter(pk=result.pk, written_at=None).update(written_at=now, due_at=None):
            result.written_at = now
            outbox.announce(result.batch, ExecutionResultCreated(result))


def render(result: ExecutionResult) -> bytes:
    """Render the CSV: UTF-8 with a byte order mark, so that spreadsheets read Hangul; rows in task order."""
    rows = result.tasks.order_by("task_order").select_related("transcript")
    tasks = rows.prefetch_related("result_files")
    text = io.StringIO()
    writer = csv.writer(text)
    added = [name for name in result.batch.csv_columns if name in OPTIONAL_COLUMNS]
    writer.writerow([*COLUMNS, *(CSV_COLUMN_TITLES[name] for name in added)])
    writer.writerows(_row(task, added) for task in tasks)
    return text.getvalue().encode("utf-8-sig")


def _row(task: Task, added: list[str]) -> Iterable[str]:
    checkpoint: StoredTranscript | None = getattr(task, "transcript", None)
    ended = checkpoint is not None and task.state == Task.State.COMPLETED
    transcript = checkpoint.published() if checkpoint and ended else None
    started, finished = task.started_at, task.finished_at
    names = [file.key for file in task.result_files.all() if file.written_at]
    return (
        str(task.task_order),
        neutral(task.name),
        neutral("; ".join(names)),
        f"{(finished - started).total_seconds():.1f}" if started and finished else "",
        started.isoformat(timespec="seconds") if started else "",
        finished.isoformat(timespec="seconds") if finished else "",
        "Completed" if task.state == Task.State.COMPLETED else "Failed",
        neutral(task.error_message),
        f"{task.media_duration / 1000:.1f}" if task.media_duration is not None else "",
        task.uid,
        *_quality(transcript),
        *(neutral(OPTIONAL_COLUMNS[name](task, transcript)) for name in added),
    )


def _quality(transcript: Transcript | None) -> Iterable[str]:
    """Quality signals of the transcript; nothing without one."""
    if transcript is None:
        return ("", "", "", "")
    return (
        f"{transcript.confidence:.2f}",
        f"{transcript.no_speech_share:.2f}",
        f"{transcript.mean_logprob:.2f}",
        "; ".join(_described(flag, transcript) for flag in transcript.all_flags),
    )


def _described(flag: str, transcript: Transcript) -> str:
    """Format a quality flag, with its times in seconds if it has any."""
    if flag == "unrecognised_speech":
        spans = (f"{span.start / 1000:.1f}-{span.end / 1000:.1f}" for span in transcript.unrecognised)
        return f"{flag} ({', '.join(spans)} s)"
    if flag == "truncated" and transcript.missing_duration:
        return f"{flag} ({transcript.missing_duration / 1000:.1f} s)"
    return flag
