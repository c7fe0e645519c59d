"""Give the system back what the allocator keeps: memory must not grow with the length of a file."""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)


def release() -> None:
    """Return the free pages of the heap.

    Every batch leaves holes of other sizes behind, and glibc keeps them: without this an hour of speech took
    half a gigabyte more than ten minutes. Does nothing where the C library has no such call.
    """
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
