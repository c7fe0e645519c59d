"""Task progress: reported with the heartbeats of the task's lease."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from django.conf import settings

from batches.models import Task
from batches.tasks import lifecycle
from batches.tasks.leases import Lease

# Share of each stage in a task's progress, in per cent.
DOWNLOADED, RECOGNISED, SEPARATED = 5, 75, 95
LAST_SECONDS = 60.0  # before the estimated end of recognition, when the next file is prefetched


class Stopping(Exception):
    """The worker was asked to stop; the task is released."""


class Progress:
    """Reporter of a task's progress, sent as throttled heartbeats within the lease time.

    Raises Stopping, LeaseLost or CancelRequested in :meth:`report`. ``meanwhile`` is called about once a
    second in the estimated last minute of recognition.
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
        """Report a stage and its progress; called about once a second, even without a change."""
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
