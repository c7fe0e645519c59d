"""Process memory: measuring it, limiting it, and returning free heap pages to the system."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from pathlib import Path

_WATCH_SECONDS = 0.5
OUT_OF_MEMORY, OVER_LIMIT = 70, 72  # exit statuses
_LIBC = ctypes.CDLL(None)


def release() -> None:
    """Return free heap pages to the system (``malloc_trim``).

    Batches of different sizes fragment the heap, and glibc keeps the free pages: without this, an hour of
    speech took half a gigabyte more than ten minutes. Does nothing if the C library has no such call.
    """
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)


def unreclaimable(pid: int) -> int:
    """Anonymous and shared memory in bytes, without pages of mapped files (weights, decoded audio)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def end_above(limit: int) -> None:
    """Monitor this process from a thread, and end it once it uses more than ``limit`` bytes."""

    def watch() -> None:
        while (used := unreclaimable(os.getpid())) <= limit:
            time.sleep(_WATCH_SECONDS)
        sentence = f"It used {used >> 20} MB of memory; the limit is {limit >> 20} MB."
        print(sentence, file=sys.stderr, flush=True)
        os._exit(OVER_LIMIT)

    threading.Thread(target=watch, name="memory-limit", daemon=True).start()
