"""The work folder: whether the portal can write to it. Where it cannot, tasks wait; they never fail."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from django.conf import settings

_NOT_WRITABLE = frozenset([errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR])


def problem(folder: Path | None = None) -> str:
    """Why a file cannot be written to a folder, by default the work folder; empty if one can.

    A folder that does not exist is made. A full disk is another matter (:mod:`batches.worker.disk_space`).
    """
    place = folder or Path(settings.WORK_DIR)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place, prefix=".write-check-"):
            pass
    except OSError as error:
        return os.strerror(error.errno or 0) if error.errno in _NOT_WRITABLE else ""
    return ""


def is_not_writable(error: Exception) -> bool:
    """Whether an error says that a file of the work folder, or the folder itself, cannot be written."""
    if not isinstance(error, OSError) or error.errno not in _NOT_WRITABLE:
        return False
    return Path(str(error.filename or "")).is_relative_to(settings.WORK_DIR)
