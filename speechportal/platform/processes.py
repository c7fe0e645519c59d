"""Child processes: the parent-death signal (Linux), and whether processes can share semaphores."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: int = signal.SIGTERM) -> None:
    """Ask the kernel for ``death_signal`` when the parent's thread ends. For use in a new child process."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() == 1:  # The parent had ended before prctl was called.
        os.kill(os.getpid(), death_signal)


def semaphore_problem() -> str:
    """Reason why processes cannot share semaphores, which lie in ``/dev/shm``; empty if they can.

    Without them no cluster of the queue starts.
    """
    try:
        multiprocessing.Lock()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
