"""Check of the system's folder for temporary files, which SQLite's sorting and large uploads need."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

FREE_BYTES = 16 * 1024**2


def path() -> Path:
    """Folder that libraries write to: ``TMPDIR``, even where Python has fallen back to another."""
    return Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - as libraries do


def problem() -> str:
    """Reason why temporary files cannot be written; empty if they can."""
    try:
        with tempfile.TemporaryFile(dir=path()):
            pass
        free = shutil.disk_usage(path()).free
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "" if free >= FREE_BYTES else f"{free / 1024**2:.0f} MiB are free"
