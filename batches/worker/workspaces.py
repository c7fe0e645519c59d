"""Workspaces: local folders, one per lease, for the files of the task being processed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path, PurePosixPath

from django.conf import settings

from batches.models import Task
from batches.tasks.leases import Lease

FORGOTTEN = 24 * 3600.0  # seconds after which the workspace of an unknown task is removed


def workspace_of(task: Task, lease: Lease) -> Path:
    """Folder on this machine for the files of the task under this lease."""
    folder: Path = settings.WORK_DIR / f"{task.uid}.{lease.token.hex[:8]}"
    return folder


def media_of(task: Task, workspace: Path) -> Path:
    """Path that the task's input is downloaded to."""
    return workspace / f"input{PurePosixPath(task.input_key).suffix.lower()}"


def sweep() -> None:
    """Remove the workspaces of killed workers on this machine.

    That of a task which is not in the database may be in use by another installation that shares the folder.
    """
    for folder in settings.WORK_DIR.glob("tsk_*.*"):
        uid, _, token = folder.name.partition(".")
        task = Task.unscoped.filter(uid=uid).only("state", "lease_token").first()
        if task is None:
            in_use = _age(folder) < FORGOTTEN
        else:
            lease = task.lease_token
            in_use = task.state in Task.LEASED and lease is not None and lease.hex.startswith(token)
        if not in_use:
            shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> float:
    """Seconds since a file in the folder was made or removed; 0 if the folder is gone."""
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0
