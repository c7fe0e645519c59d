"""Locks between processes that are released when their holder is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from types import TracebackType

PAUSE = 0.01  # seconds between two tries


class KernelLock:
    """Lock like ``multiprocessing.Lock``, for processes that were forked after it was made.

    A record lock of the kernel (fcntl(2)) on a file in memory. It belongs to the process, so the kernel
    releases it when the process ends for any reason. The semaphores of ``multiprocessing`` stay locked for
    ever when their holder is killed. It does not exclude threads of one process from each other.
    """

    def __init__(self) -> None:
        self._file = os.memfd_create("speechportal-lock")

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if block and timeout is None:
            while not self._try(fcntl.LOCK_EX):
                time.sleep(PAUSE)
            return True
        end = time.monotonic() + (timeout or 0.0)
        while not self._try(fcntl.LOCK_EX | fcntl.LOCK_NB):
            if not block or time.monotonic() >= end:
                return False
            time.sleep(PAUSE)
        return True

    def _try(self, operation: int) -> bool:
        try:
            fcntl.lockf(self._file, operation)
        except OSError as error:
            # EDEADLK, a false alarm: in each of two processes, one thread holds a lock and another waits for
            # the other process's lock. The kernel sees processes only, not threads.
            if error.errno in {errno.EACCES, errno.EAGAIN, errno.EDEADLK}:
                return False
            raise
        return True

    def release(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
