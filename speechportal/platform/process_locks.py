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

    A record lock of the kernel (fcntl(2)) on a file that only exists in memory: it belongs to the process,
    so it ends with it, however it ends. A semaphore, as ``multiprocessing`` uses, stays taken for ever when
    its holder is killed. It does not exclude threads of one process from each other.
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
            # EDEADLK: two processes, each with one thread that holds one lock and another thread that waits
            # for the other's, are no deadlock; the kernel looks at processes only.
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
