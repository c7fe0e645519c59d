"""Installation check: whether the portal's own files are there. If not, tasks wait; they never fail.

A running worker has read most of its code. It meets what is gone, for example after the code's folder was
replaced without a restart, in the middle of a task.
"""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import django
from django.conf import settings

_UNREADABLE = frozenset([errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE])
_FOLDERS = (Path(settings.BASE_DIR), Path(sys.prefix), Path(sys.base_prefix))


def problem() -> str:
    """What is missing of the portal's code or its packages; empty if nothing is."""
    files = (Path(settings.BASE_DIR) / "speechportal" / "__init__.py", Path(django.__file__))
    missing = next((file for file in files if not file.is_file()), None)
    return f"{missing} is missing. Install the portal again and restart its workers." if missing else ""


def is_damage(error: Exception) -> bool:
    """Whether an error means that a module or a file of the installation is missing or unreadable."""
    if isinstance(error, ImportError):
        return True
    if not isinstance(error, OSError) or error.errno not in _UNREADABLE or not error.filename:
        return False
    path = Path(str(error.filename))
    data = (Path(settings.DATA_DIR), Path(settings.WORK_DIR))
    within = any(path.is_relative_to(folder) for folder in _FOLDERS)
    return within and not any(path.is_relative_to(folder) for folder in data)
