"""Host faults: faults of this machine that prevent its workers from processing any task.

No task fails for them: the machine reports the fault (:func:`batches.tasks.model_hosts.report`), its workers
claim no tasks, and a batch whose tasks no other machine can process shows a notice.
"""

from __future__ import annotations

from django.conf import settings

from batches.recognition.errors import (
    FfmpegUnavailable,
    InstallationDamaged,
    WorkDiskFull,
    WorkFolderUnwritable,
)
from batches.recognition.media import ffmpeg
from batches.tasks.model_hosts import HostFault
from batches.worker import disk_space, installation, work_folder


def find() -> HostFault | None:
    """First fault of this machine; None if its workers can process tasks."""
    checks = (_installation, _folder, _disk, _ffmpeg)
    return next((fault for check in checks if (fault := check()) is not None), None)


def _installation() -> HostFault | None:
    reason = installation.problem()
    return HostFault(InstallationDamaged.code, reason) if reason else None


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
