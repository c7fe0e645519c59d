"""seccomp filter: denies system calls that a process for untrusted media does not need.

A deny list, since numerical libraries and GPU drivers use too many calls for an allow list. Denied calls fail
with EPERM. Source: the kernel's Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 38, 22
_SECCOMP_MODE_FILTER = 2

# The architecture's audit number, and its numbers of the denied system calls: new sockets, signals to other
# processes, access to their memory and descriptors, namespaces, mounts, keys, and the kernel's own virtual
# machines.
_DENIED = {
    "x86_64": (
        0xC000003E,
        {
            "socket": 41, "kill": 62, "tgkill": 234, "tkill": 200, "rt_sigqueueinfo": 129,
            "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424, "connect": 42, "ptrace": 101,
            "process_vm_readv": 310, "process_vm_writev": 311,
            "pidfd_getfd": 438, "setns": 308, "unshare": 272, "mount": 165, "umount2": 166,
            "pivot_root": 155, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
            "io_uring_setup": 425, "add_key": 248, "request_key": 249, "keyctl": 250,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "socket": 198, "kill": 129, "tgkill": 131, "tkill": 130, "rt_sigqueueinfo": 138,
            "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424, "connect": 203, "ptrace": 117,
            "process_vm_readv": 270, "process_vm_writev": 271,
            "pidfd_getfd": 438, "setns": 268, "unshare": 97, "mount": 40, "umount2": 39,
            "pivot_root": 41, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
            "io_uring_setup": 425, "add_key": 217, "request_key": 218, "keyctl": 219,
        },
    ),
}  # fmt: skip
_X32_BIT = 0x40000000  # x86_64 has a second set of numbers for the same calls
# Instructions of the classic Berkeley packet filter.
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET = 0, 4, 16  # in struct seccomp_data
_AF_UNIX, _NO_FAMILY = 1, 0xFFFFFFFF
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000 | errno.EPERM


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def deny_system_calls(*, unix_sockets: bool = False) -> bool:
    """Install the filter in this thread and its children. False if kernel or architecture is not supported.

    With ``unix_sockets`` Unix sockets can be created, though not connected: CUDA's driver requires one.
    """
    if (found := _DENIED.get(platform.machine())) is None:
        return False
    architecture, denied = found
    # Allowed with one value of their first argument only: a socket family, this process's PID.
    only = {
        denied["socket"]: _AF_UNIX if unix_sockets else _NO_FAMILY,
        denied["kill"]: os.getpid(),
        denied["tgkill"]: os.getpid(),
    }
    instructions = _filter(architecture, sorted(set(denied.values()) - set(only)), only)
    program = _Program(len(instructions) // 8, instructions)
    _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return bool(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(architecture: int, numbers: list[int], only: dict[int, int]) -> bytes:
    """BPF program: kill for another architecture, deny ``numbers`` and, except for one argument, ``only``.

    All other calls are allowed.
    """
    count = len(numbers) + 3 * len(only)  # instructions up to the one that allows
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        (_JUMP_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_IF_AT_LEAST, count + 1, 0, _X32_BIT),
        *((_JUMP_IF_EQUAL, count - place, 0, number) for place, number in enumerate(numbers)),
    ]
    for place, (number, value) in enumerate(only.items()):
        left = 3 * (len(only) - place)  # instructions from this call's first to the one that allows
        steps += [
            (_JUMP_IF_EQUAL, 0, 2, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_OFFSET),
            (_JUMP_IF_EQUAL, left - 3, left - 2, value),
        ]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
