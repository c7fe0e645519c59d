"""What the child process gives up before it touches a file: network, core dumps, large files, its orphanhood.

Imports nothing that starts a thread: a user namespace can only be entered by a process with a single one.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
MAX_FILE_BYTES = 3 * 1024**3  # six hours of decoded sound take half of that


def leave_network() -> bool:
    """Move to a network namespace without any interface. False where the kernel refuses; that is no error.

    The user namespace that this needs also keeps the process from reading its parent's environment and
    memory through /proc.
    """
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        pass  # unmapped, the process is "nobody" in its own eyes; its files are still its own
    return True


def die_with_parent(parent: int) -> None:
    """End when the parent process ends, also if it has ended already. Call after :func:`leave_network`.

    The kernel watches the thread of the parent that started this process.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def set_limits() -> None:
    """No core dumps, which would hold customers' speech; no file beyond reason; no new privileges."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = MAX_FILE_BYTES if hard == resource.RLIM_INFINITY else min(MAX_FILE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
