"""Parent-death signal: ends child processes with the process that started them (Linux)."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: int = signal.SIGTERM) -> None:
    """Ask the kernel for ``death_signal`` when the parent's thread ends. For use in a new child process."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() == 1:  # The parent was gone before the kernel was asked.
        os.kill(os.getpid(), death_signal)
