"""Room on the disk that workers work on. A full disk is the operator's affair: no file fails for it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from django.conf import settings

from batches.recognition.errors import NO_ROOM


def is_lacking(error: Exception) -> bool:
    """Whether a write failed for want of room."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def free_bytes(folder: Path) -> int:
    """What is left on the disk that ``folder`` is on, or will be."""
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def enough(needed: int = 0) -> bool:
    """Whether ``SPEECHPORTAL_WORK_FREE_MB`` are left, after ``needed`` bytes more."""
    return free_bytes(settings.WORK_DIR) - needed >= settings.WORK_FREE_MB * 1024 * 1024


def require(needed: int) -> None:
    """Raise as if the disk were full when so many bytes would fill it."""
    if not enough(needed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
