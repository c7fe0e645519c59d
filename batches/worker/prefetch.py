"""The next file, claimed and downloaded while the present one is recognised.

A worker that recognises leaves its network idle, and one that downloads its processor. So, shortly before a
worker is done, and if a task has waited for a while, so that no other worker can be idle, a thread claims the
task and fetches its input. It holds the lease until the worker takes the task over, and gives it back when
that takes too long.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from django.db import connections
from django.utils import timezone

from batches.models import Task
from batches.tasks import scheduling
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from batches.worker import disk_space, processing
from speechportal.storage.errors import StorageError

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=5)  # An idle worker would have taken the task by then.
LOOK_SECONDS = 5.0
HOLD_SECONDS = 300.0  # Then another worker may be idle.
HEARTBEAT_SECONDS = 1.0


class Ahead:
    """One worker's look ahead. All methods are called from the worker's own thread."""

    def __init__(self, worker: str, stopping: Callable[[], bool]) -> None:
        self.worker = worker
        self.stopping = stopping
        self._thread: threading.Thread | None = None
        self._claim: Lease | None = None
        self._taken = threading.Event()
        self._fetched = threading.Event()
        self._looked_at = 0.0

    def look(self) -> None:
        """Claim and fetch a task in the background, unless that is under way. Called about once a second."""
        now = time.monotonic()
        if self._thread is not None or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        claim = scheduling.claim_next(self.worker, waited=PATIENCE) if disk_space.enough() else None
        if claim is None:
            return
        self._claim = claim
        self._taken.clear()
        self._fetched.clear()
        self._thread = threading.Thread(target=self._hold, args=(claim,), name="ahead", daemon=True)
        self._thread.start()

    def take(self) -> Lease | None:
        """The task that was claimed, with its input in its workspace unless fetching that failed."""
        thread = self._thread
        if thread is None:
            return None
        while thread.is_alive() and not self._fetched.wait(0.2) and not self.stopping():
            pass
        claim = self._end(thread)
        if claim is not None:
            claim.row.update(started_at=timezone.now())  # Until now it only lay ready.
        return claim

    def close(self) -> None:
        """Give back what was claimed and not taken."""
        if self._thread is not None and (claim := self._end(self._thread)) is not None:
            processing.give_back(claim)

    def _end(self, thread: threading.Thread) -> Lease | None:
        self._taken.set()
        thread.join()
        self._thread = None
        claim, self._claim = self._claim, None
        return claim

    def _hold(self, claim: Lease) -> None:
        task = Task.unscoped.select_related("connection", "batch").get(pk=claim.task_id)
        workspace = processing.workspace_of(task, claim)
        progress = processing.Progress(claim, self._must_end)
        try:
            self._fetch(task, progress)
            self._fetched.set()
            end = time.monotonic() + HOLD_SECONDS
            while not self._taken.wait(HEARTBEAT_SECONDS):
                progress.report(Task.Stage.DOWNLOADING, processing.DOWNLOADED)
                if time.monotonic() > end:
                    self._claim = None
                    processing.give_back(claim)
                    break
        except processing.Stopping:
            pass  # The worker gives it back, or takes it over without its input.
        except (LeaseLost, CancelRequested) as reason:
            self._claim = None
            shutil.rmtree(workspace, ignore_errors=True)
            if isinstance(reason, CancelRequested):
                processing.confirm_cancel(claim, task)
        except Exception:
            # The worker meets the fault again when it takes the task over, and deals with it there.
            logger.exception("task %s: the look ahead failed", task.uid)
        finally:
            connections.close_all()

    def _must_end(self) -> bool:
        return self.stopping() or (self._taken.is_set() and not self._fetched.is_set())

    def _fetch(self, task: Task, progress: processing.Progress) -> None:
        try:
            processing.fetch(task, processing.workspace_of(task, progress.claim), progress)
        except StorageError as error:
            # As above: in its own turn it is told and counted.
            logger.info("task %s: not fetched ahead: %s", task.uid, error.code)
