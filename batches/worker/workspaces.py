"""Workspaces: local folders, one per lease, for the files of the task being processed."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from django.conf import settings

from batches.models import Task
from batches.tasks.leases import Lease


def workspace_of(task: Task, lease: Lease) -> Path:
    """Folder on this machine for the files of the task under this lease."""
    folder: Path = settings.WORK_DIR / f"{task.uid}.{lease.token.hex[:8]}"
    return folder


def media_of(task: Task, workspace: Path) -> Path:
    """Path that the task's input is downloaded to."""
    return workspace / f"input{PurePosixPath(task.input_key).suffix.lower()}"


def sweep() -> None:
    """Remove the workspaces of killed workers on this machine."""
    for folder in settings.WORK_DIR.glob("tsk_*.*"):
        uid, _, token = folder.name.partition(".")
        leases = Task.unscoped.filter(uid=uid, state__in=Task.LEASED).values_list("lease_token", flat=True)
        if not any(lease and lease.hex.startswith(token) for lease in leases):
            shutil.rmtree(folder, ignore_errors=True)
