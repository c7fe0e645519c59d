"""Work folder check: whether the portal can write to it. If it cannot, tasks wait; they never fail."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from django.conf import settings

_NOT_WRITABLE = frozenset([errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR])
_NO_FOLDER = _NOT_WRITABLE | {errno.EEXIST}  # the last of a file in its place


def engines_folder() -> Path:
    """Folder for the engines' sockets and home folders, and for decoded audio."""
    return Path(settings.WORK_DIR) / "recognition"


def problem() -> str:
    """Reason why the work folder, or the engines' in it, is not writable; empty if both are."""
    if reason := problem_of(Path(settings.WORK_DIR)):
        return reason
    reason = problem_of(engines_folder())
    return f"{reason}, in {engines_folder().name}" if reason else ""


def problem_of(place: Path) -> str:
    """Reason why a folder is not writable; empty if it is.

    A missing folder is created. A full disk is not reported here (:mod:`batches.worker.disk_space`).
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place, prefix=".write-check-"):
            pass
    except OSError as error:
        return os.strerror(error.errno or 0) if error.errno in _NO_FOLDER else ""
    return ""


def is_not_writable(error: Exception) -> bool:
    """Whether an error means that the work folder, or a file in it, is not writable."""
    if not isinstance(error, OSError) or error.errno not in _NOT_WRITABLE:
        return False
    return Path(str(error.filename or "")).is_relative_to(settings.WORK_DIR)
