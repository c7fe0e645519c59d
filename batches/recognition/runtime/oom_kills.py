"""OOM kills: processes that the kernel has ended because the machine or the container had no memory left.

The kernel raises a counter before it ends a process, which tells such an end from any other SIGKILL. Programs
that free memory themselves (systemd-oomd, earlyoom) raise no counter.
"""

from __future__ import annotations

import time
from pathlib import Path

# Reason of the end of a process.
KERNEL_KILL = "the kernel ended it, since the machine or its container had no memory left"
RECENT_SECONDS = 15.0  # between the counter's rise and the end of the process
ROOT = Path("/")


def count() -> int:
    """Number of OOM kills so far: of this control group, else of the whole machine; 0 if it is not known."""
    for path in _counters():
        try:
            fields = dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if " " in line)
            return int(fields["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0


def _counters() -> list[Path]:
    """Files that may have the counter: of control groups of version 2 and 1, and of the machine."""
    try:
        rows = (ROOT / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        rows = []
    found = []
    for row in rows:
        _number, controllers, group = row.split(":", 2)
        inside = group.strip("/")
        if not controllers:
            top, name = ROOT / "sys/fs/cgroup", "memory.events"
        elif "memory" in controllers.split(","):
            top, name = ROOT / "sys/fs/cgroup/memory", "memory.oom_control"
        else:
            continue
        # In a container, the path may be the host's, while its own group is mounted at the top.
        found += [top / inside / name, top / name]
    return [*found, ROOT / "proc/vmstat"]


class OomWatch:
    """Watches the counter. Call :meth:`look` at least every few seconds."""

    def __init__(self) -> None:
        self._count = count()
        self._rose_at: float | None = None

    def look(self) -> bool:
        """Whether the kernel has ended a process since the last look."""
        now = count()
        rose, self._count = now > self._count, now
        if rose:
            self._rose_at = time.monotonic()
        return rose

    def rose_lately(self) -> bool:
        """Whether the kernel has ended a process within the last seconds."""
        self.look()
        return self._rose_at is not None and time.monotonic() - self._rose_at < RECENT_SECONDS
