"""Disk space of the work folder. When the disk is full, tasks wait; they never fail."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from django.conf import settings

from batches.recognition.errors import NO_ROOM


def is_lacking(error: Exception) -> bool:
    """Whether a write failed because the disk, or a quota, is full."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that ``folder`` is on, or will be on once it exists."""
    place = folder
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def enough(needed: int = 0) -> bool:
    """Whether ``SPEECHPORTAL_WORK_FREE_MB`` stay free after another ``needed`` bytes."""
    return free_bytes(settings.WORK_DIR) - needed >= settings.WORK_FREE_MB * 1024 * 1024


def require(needed: int) -> None:
    """Raise OSError (ENOSPC) where another ``needed`` bytes would leave too little free."""
    if not enough(needed):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
