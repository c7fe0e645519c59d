"""Stand-in workers: files in input paths become completed tasks without recognition."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from django.db import connection
from django.utils import timezone

from batches.intake import polling
from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import callbacks, outbox


def complete(task: Task, text: str = "안녕하세요.") -> None:
    """Complete the task as the end of its processing does for receivers: both messages are queued."""
    document = Transcript("ko", 1.0, 1500, [Segment(0, 1500, text)])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    now = timezone.now()
    wanted = Task.unscoped.select_related("batch__domain").get(pk=task.pk).current_settings()
    Task.unscoped.filter(pk=task.pk).update(
        state="completed", started_at=now, finished_at=now, settings=wanted
    )
    outbox.announce_task(Batch.unscoped.select_related("account").get(pk=task.batch_id), task.pk)
    callbacks.queue_for(task.pk)


@contextmanager
def worker(batch: Batch) -> Iterator[None]:
    """Poll and complete tasks in the background. Files with ``bad`` in their name fail."""
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.wait(0.1):
                polling.poll(batch.pk)
                for task in Task.unscoped.filter(state=Task.State.WAITING):
                    _end(task)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _end(task: Task) -> None:
    if "bad" not in PurePosixPath(task.name).name:  # Folders have random names.
        complete(task, f"Heard in {task.name}.")
        return
    now = timezone.now()
    Task.unscoped.filter(pk=task.pk).update(
        state="failed", error_code="not_media", error_message="No media.", finished_at=now
    )
