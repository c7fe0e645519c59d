"""Faults of this machine that keep its workers from every task.

They are never a file's fault: the machine reports them (:func:`batches.tasks.model_hosts.report`), its
workers take no task, and a batch whose tasks no other machine can take says so.
"""

from __future__ import annotations

from django.conf import settings

from batches.recognition.errors import (
    FfmpegUnavailable,
    WorkDiskFull,
    WorkFolderUnwritable,
)
from batches.recognition.media import ffmpeg
from batches.tasks.model_hosts import HostFault
from batches.worker import disk_space, work_folder


def find() -> HostFault | None:
    """The first fault of this machine; None if its workers can work."""
    checks = (_folder, _disk, _ffmpeg)
    return next((fault for check in checks if (fault := check()) is not None), None)


def _folder() -> HostFault | None:
    if reason := work_folder.problem():
        return HostFault(WorkFolderUnwritable.code, f"{settings.WORK_DIR} cannot be written: {reason}.")
    return None


def _disk() -> HostFault | None:
    if disk_space.enough():
        return None
    free = disk_space.free_bytes(settings.WORK_DIR) / 1024**2
    detail = f"{free:.0f} MB are free in {settings.WORK_DIR}; {settings.WORK_FREE_MB} MB have to be."
    return HostFault(WorkDiskFull.code, detail)


def _ffmpeg() -> HostFault | None:
    try:
        ffmpeg.program()
    except FfmpegUnavailable as error:
        return HostFault(error.code, error.message)
    return None
