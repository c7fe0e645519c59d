"""Sandbox of the processes that read untrusted media: the engine process and ffmpeg.

=========  ======================================================================================
network    no new sockets (seccomp), and a network namespace without interfaces where permitted
files      the models, a scratch folder, the file in hand and the installed libraries (Landlock)
processes  no signals to, and no memory of, other processes (seccomp, Landlock)
resources  no core dumps, no file over :data:`MAX_FILE_BYTES`, no new privileges
=========  ======================================================================================

Imports nothing that starts a thread: the restrictions apply to the calling thread and those it starts, and
only a single-threaded process can enter a user namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import resource
import signal
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from batches.recognition.runtime import landlock, seccomp

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
MAX_FILE_BYTES = 3 * 1024**3  # twice the size of six hours of decoded audio
_SOURCES = Path(__file__).resolve().parents[2]  # the package "batches"

NETWORK, FILES, PROCESSES = "network", "files", "processes"
PARTS = (NETWORK, FILES, PROCESSES)


def leave_network() -> bool:
    """Enter a network namespace without interfaces. False if the kernel does not permit it.

    The user namespace that this requires also prevents the process from reading its parent's environment and
    memory through /proc.
    """
    user, group = os.getuid(), os.getgid()
    if _LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    # Without a mapping, the process runs as "nobody"; it still owns its files.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def die_with_parent(parent: int) -> None:
    """End when the parent's thread that started this process ends. Call after :func:`leave_network`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def set_limits() -> None:
    """Set limits: no core dumps (they would contain customers' speech), file size, no new privileges."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lower_limit(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def lower_limit(kind: int, most: int) -> None:
    """Lower a resource limit to ``most``; a lower one, such as ``ulimit`` sets, stays."""
    soft, hard = (
        most if limit == resource.RLIM_INFINITY else min(most, limit) for limit in resource.getrlimit(kind)
    )
    resource.setrlimit(kind, (soft, hard))


def confine(
    *,
    readable: Iterable[Path],
    writable: Sequence[Path],
    devices: Iterable[Path] = (),
    graphics: bool = False,
) -> list[str]:
    """Drop access to network, files and other processes, except as given. Returns the parts that failed.

    ``graphics`` also grants what a GPU driver needs.
    """
    apart = leave_network()
    set_limits()
    if graphics:
        # CUDA names its threads through files in /proc/self, and creates one Unix socket.
        readable, writable = [*readable, *graphics_libraries()], [*writable, Path("/proc/self")]
        devices = [*devices, *graphics_devices()]
    files, signals = landlock.restrict(readable=readable, writable=writable, devices=devices)
    filtered = seccomp.deny_system_calls(unix_sockets=graphics)
    fulfilled = {
        NETWORK: apart or filtered,
        FILES: files,
        PROCESSES: signals or apart or filtered,
    }
    return [part for part in PARTS if not fulfilled[part]]


def system_libraries() -> list[Path]:
    """Files that any program reads: C library, loader cache, time zones, CPU and memory information."""
    names = ("/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/usr/local/cuda")
    programs = _installed(Path("/usr")) + _installed(Path("/usr/local"))
    kernel = ("/proc", "/sys/devices", "/sys/fs/cgroup", "/sys/kernel/mm", "/dev/urandom", "/dev/random")
    more = ("/etc/localtime", "/etc/nsswitch.conf", "/etc/passwd")
    return [*programs, *(Path(name) for name in (*names, *kernel, *more))]


def python_libraries() -> list[Path]:
    """Folders that this interpreter imports from, without the one that may contain the portal's data."""
    folders = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    prefixes = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent.parent}
    installed = [path for prefix in sorted(prefixes) for path in _installed(prefix)]
    return [*installed, *(Path(place) for place in (*folders, *site.getsitepackages())), _SOURCES]


def _installed(prefix: Path) -> list[Path]:
    """Folders of installed files under a prefix, which may also contain the portal's data."""
    names = ("bin", "lib", "lib64", "lib32", "libexec", "include", "share", "pyvenv.cfg")
    return [prefix / name for name in names]


def null_devices() -> list[Path]:
    return [Path("/dev/null"), Path("/dev/zero")]


def graphics_devices() -> list[Path]:
    """Device files of the GPUs and their driver."""
    return [*Path("/dev").glob("nvidia*"), Path("/dev/dxg")]


def graphics_libraries() -> list[Path]:
    """Files that a GPU driver reads besides the system's libraries."""
    names = ("/sys/bus/pci", "/sys/class", "/sys/module", "/run/nvidia-persistenced", "/usr/local/nvidia")
    given = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [*map(Path, names), Path("/usr/lib/wsl"), *(Path(name) for name in given if name)]


def missing() -> tuple[str, ...]:
    """Those of :data:`PARTS` that this system does not support; all while that cannot be tested."""
    try:
        return tested()
    except (OSError, ValueError, subprocess.SubprocessError):
        return PARTS


@functools.cache
def tested() -> tuple[str, ...]:
    """Missing parts, tested in a separate process, once unless the test itself fails."""
    command = [sys.executable, "-m", "batches.recognition.runtime.sandbox"]
    tried = subprocess.run(command, cwd=_SOURCES.parent, capture_output=True, timeout=60, check=True)
    found = set(json.loads(tried.stdout))
    return tuple(part for part in PARTS if part in found)


if __name__ == "__main__":
    print(json.dumps(confine(readable=[*system_libraries(), *python_libraries()], writable=[])))
