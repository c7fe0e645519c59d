"""Memory of a process: what it uses, a limit on it, and giving back what the allocator keeps."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

_WATCH_SECONDS = 0.5
OVER_LIMIT = 72  # exit status
_LIBC = ctypes.CDLL(None)


def release() -> None:
    """Return the free pages of the heap.

    Every batch leaves holes of other sizes behind, and glibc keeps them: without this an hour of speech took
    half a gigabyte more than ten minutes. Does nothing where the C library has no such call.
    """
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def unreclaimable(pid: int) -> int:
    """Bytes of anonymous and shared memory; pages of mapped files (weights, decoded sound) do not count."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def end_above(limit: int) -> None:
    """Watch this process from a thread, and end it once it uses more than ``limit`` bytes."""

    def watch() -> None:
        while (used := unreclaimable(os.getpid())) <= limit:
            time.sleep(_WATCH_SECONDS)
        sentence = f"It used {used >> 20} MB of memory; the limit is {limit >> 20} MB."
        print(sentence, file=sys.stderr, flush=True)
        os._exit(OVER_LIMIT)

    threading.Thread(target=watch, name="memory-limit", daemon=True).start()
