"""Prefetching: claims, downloads and decodes the next file while the current one is being recognised.

Shortly before a worker finishes a task, a thread claims the next one, provided that it has waited so long
that no worker can be idle. It downloads and decodes the input and holds the lease until the worker takes it.
A task that is held for too long is released.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from django.db import connections
from django.utils import timezone

from batches.models import Task, TaskTrace
from batches.recognition.errors import RecognitionError
from batches.recognition.options import Options
from batches.tasks import fleet, model_hosts, scheduling
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.worker import disk_space, outcomes, processing
from batches.worker.loaded_models import LoadedModels
from batches.worker.progress import DOWNLOADED, Progress, Stopping
from batches.worker.workspaces import media_of, workspace_of
from speechportal.platform import tracing
from speechportal.storage.errors import StorageError

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=5)  # An idle worker would have claimed the task by then.
LOOK_SECONDS = 5.0  # between two attempts to claim a task
HOLD_SECONDS = 300.0  # After that, another worker may be idle.
HEARTBEAT_SECONDS = 1.0


class Decoder(Protocol):
    """Decodes files ahead and keeps the audio until it is recognised; implemented by RecognitionClient."""

    def decode_ahead(self, path: Path, options: Options, progress: Callable[[float], None]) -> None: ...
    def forget(self, path: Path) -> None: ...


class Prefetcher:
    """Prefetches one task at a time for one worker. Call all methods from the worker's own thread.

    Without a ``decoder`` files are only downloaded.
    """

    def __init__(
        self,
        worker: str,
        stopping: Callable[[], bool],
        decoder: Decoder | None = None,
        models: LoadedModels | None = None,
    ) -> None:
        self.worker = worker
        self.models = models or LoadedModels()
        self.stopping = stopping
        self.decoder = decoder
        self._thread: threading.Thread | None = None
        self._lease: Lease | None = None
        self._taken = threading.Event()
        self._ready = threading.Event()
        self._looked_at = 0.0

    def look(self) -> None:
        """Start to prefetch a task in the background, unless one is under way. Called about once a second."""
        now = time.monotonic()
        if self._thread is not None or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if not disk_space.enough() or not fleet.may_claim():
            return
        served, begun = model_hosts.served_here(), time.time()
        lease = scheduling.claim_next(self.worker, PATIENCE, served=served, loaded=self.models.preferred)
        if lease is None:
            return
        tracing.record("claim", TaskTrace.parent_of(lease.task_id), begun, worker=self.worker)
        self._lease = lease
        self._taken.clear()
        self._ready.clear()
        self._thread = threading.Thread(target=self._hold, args=(lease,), name="prefetch", daemon=True)
        self._thread.start()

    def take(self) -> Lease | None:
        """Lease of the prefetched task, if any; its input is in its workspace unless the download failed."""
        thread = self._thread
        if thread is None:
            return None
        while thread.is_alive() and not self._ready.wait(0.2) and not self.stopping():
            pass
        lease = self._end(thread)
        if lease is not None:
            lease.row.update(started_at=timezone.now())  # Until now it was only prefetched.
        return lease

    def close(self) -> None:
        """Release the prefetched task that was not taken."""
        if self._thread is not None and (lease := self._end(self._thread)) is not None:
            outcomes.release_unstarted(lease, self._forget)

    def _end(self, thread: threading.Thread) -> Lease | None:
        self._taken.set()
        thread.join()
        self._thread = None
        lease, self._lease = self._lease, None
        return lease

    def _hold(self, lease: Lease) -> None:
        task = Task.unscoped.select_related("connection", "batch").get(pk=lease.task_id)
        workspace = workspace_of(task, lease)
        progress = Progress(lease, self._must_end)
        try:
            with tracing.span("prefetch", TaskTrace.parent_of(task.pk), task=task.uid):
                self._prepare(task, progress)
            self._ready.set()
            end = time.monotonic() + HOLD_SECONDS
            while not self._taken.wait(HEARTBEAT_SECONDS):
                progress.report(Task.Stage.DOWNLOADING, DOWNLOADED)
                if time.monotonic() > end:
                    self._lease = None
                    outcomes.release_unstarted(lease, self._forget)
                    break
        except Stopping:
            pass  # The worker releases the task, or processes it without the prefetched input.
        except (LeaseLost, CancelRequested) as reason:
            self._lease = None
            self._forget(media_of(task, workspace))
            shutil.rmtree(workspace, ignore_errors=True)
            if isinstance(reason, CancelRequested):
                outcomes.confirm_cancel(lease, task)
        except Exception:
            # The fault recurs when the worker processes the task, and is handled there.
            logger.exception("task %s: prefetching failed", task.uid)
        finally:
            connections.close_all()

    def _must_end(self) -> bool:
        return self.stopping() or (self._taken.is_set() and not self._ready.is_set())

    def _prepare(self, task: Task, progress: Progress) -> None:
        try:
            media = processing.fetch(task, workspace_of(task, progress.lease), progress)
            if self.decoder is not None:
                report = progress.within(Task.Stage.DOWNLOADING, DOWNLOADED, DOWNLOADED)
                self.decoder.decode_ahead(media, processing.options_of(task), report)
        except (StorageError, RecognitionError) as error:
            # As above: the error is reported and counted when the task is processed.
            logger.info("task %s: not prefetched: %s", task.uid, error.code)

    def _forget(self, media: Path) -> None:
        if self.decoder is not None:
            self.decoder.forget(media)
