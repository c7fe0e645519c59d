"""Landlock: an allow list of files for this process and its children, enforced by the kernel.

Uses ctypes, because the C library has no wrapper. Each version of the kernel's interface (ABI) adds rights;
rights that the kernel does not support are left out of the request. Source: the kernel's
Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
# The numbers of these system calls are the same on all architectures.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_TRUNCATE, _IOCTL_DEVICE = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEVICE
# Number of file access rights in each version of the interface.
_KNOWN_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_BIND_AND_CONNECT = 0b11
_TCP_VERSION = 4
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_SCOPES_VERSION = 6


def version() -> int:
    """Version of the kernel's interface; 0 if Landlock is missing or disabled."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)))


def restrict(
    *, readable: Iterable[Path], writable: Sequence[Path], devices: Iterable[Path] = ()
) -> tuple[bool, bool]:
    """Restrict this thread, and the threads and processes it starts, permanently to the given files.

    ``readable`` folders may be read and executed from, ``writable`` ones changed as well; ``devices`` are
    device files that may be opened for writing and accept ioctl calls. Missing paths are left out. TCP,
    abstract Unix sockets and signals to other processes are denied if the kernel supports it.

    Returns whether files are restricted, and whether signals are. Call it while the process has one thread.
    """
    abi = version()
    if not abi:
        return False, False
    known = (1 << _KNOWN_RIGHTS.get(abi, 16)) - 1
    attributes = struct.pack("=Q", known)
    if abi >= _TCP_VERSION:
        attributes += struct.pack("=Q", _TCP_BIND_AND_CONNECT)
    if abi >= _SCOPES_VERSION:
        attributes += struct.pack("=Q", _ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = int(_LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return False, False
    try:
        for paths, rights in (
            (readable, _READ),
            (writable, known & ~_IOCTL_DEVICE),
            (devices, _READ | _WRITE_FILE | _IOCTL_DEVICE),
        ):
            for path in paths:
                _allow(ruleset, path, rights & known)
        confined = _LIBC.syscall(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)
    return confined, confined and abi >= _SCOPES_VERSION


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, descriptor)
        if _LIBC.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock refuses a rule for {path}")
    finally:
        os.close(descriptor)
