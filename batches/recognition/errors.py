"""Exceptions of recognition, from reading the media file to writing the transcript.

::

    RecognitionError
    ├── MediaError                 the file: permanent
    │   ├── EmptyFile
    │   ├── NotMedia
    │   ├── NoAudioStream
    │   ├── DamagedMedia
    │   ├── EncryptedMedia
    │   ├── MediaTooLong
    │   └── MediaTooLarge
    ├── ModelUnavailable           the installation: worth a retry
    ├── WorkDiskFull               the installation: worth a retry
    ├── WorkFolderUnwritable       the installation: worth a retry
    ├── FfmpegUnavailable          the installation: worth a retry
    ├── InstallationDamaged        the installation: worth a retry
    ├── HostExhausted              the installation: worth a retry
    ├── GpuMemoryExhausted         the file on this GPU: worth a retry
    ├── EngineUnavailable          the installation: worth a retry
    ├── EngineDied                 the process: worth a retry
    ├── EngineStalled              the process: worth a retry
    └── UnexpectedFailure          a fault of the software: worth a retry
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

# errno of a write without disk space; the last is that of a file size limit (ulimit -f).
NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
# errno of a system call without processes (threads), memory or open files.
EXHAUSTED = frozenset([errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])


def _(sentence: str) -> str:
    """Mark a sentence for translation by the portal (xgettext searches for this name)."""
    return sentence


class RecognitionError(Exception):
    """Base class: failure of one file, with a stable code and an actionable sentence.

    ``code`` is a short snake_case name that never changes once released. ``sentence`` is plain English; the
    portal translates it and fills in ``shown(details)``. ``message`` may give details of this failure, in
    English. ``permanent`` means that the same file will fail again: such a task is not retried.
    """

    code: ClassVar[str] = "recognition_failed"
    permanent: ClassVar[bool] = True
    sentence: ClassVar[str] = _("The file could not be recognised.")

    def __init__(self, message: str = "", **details: str | int | float) -> None:
        self.message = message or self.sentence % self.shown(details)
        super().__init__(self.message)
        self.details = details

    @classmethod
    def shown(cls, details: dict[str, Any]) -> dict[str, Any]:
        """Values of the sentence's placeholders."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Serialise the error, for the engine process's response to its client."""
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "permanent": self.permanent,
        }

    @staticmethod
    def from_dict(document: dict[str, Any]) -> RecognitionError:
        """Deserialise an error from :meth:`to_dict`, as an instance of the class with its code."""
        known = {RecognitionError}
        while more := {child for kind in known for child in kind.__subclasses__()} - known:
            known |= more
        kind = next((kind for kind in known if kind.code == document["code"]), RecognitionError)
        return kind(document["message"], **document["details"])


class MediaError(RecognitionError):
    """Base class: the file cannot be recognised as it is."""

    code = "media_error"
    sentence = _("The file cannot be recognised as it is.")


class EmptyFile(MediaError):
    code = "empty_file"
    sentence = _("The file is empty (0 bytes).")


class NotMedia(MediaError):
    code = "not_media"
    sentence = _("The file is not audio or video in a format that can be read.")


class NoAudioStream(MediaError):
    code = "no_audio"
    sentence = _("The file has no sound, only video or pictures.")


class DamagedMedia(MediaError):
    code = "damaged_media"
    sentence = _("The file is damaged or incomplete and could not be decoded.")


class EncryptedMedia(MediaError):
    code = "encrypted_media"
    sentence = _("The file is encrypted.")


class MediaTooLong(MediaError):
    """The media is too long. Details: ``duration_ms`` and ``limit_ms``."""

    code = "media_too_long"
    sentence = _("The file is %(duration_ms)s minutes long; the limit is %(limit_ms)s minutes.")

    @classmethod
    def shown(cls, details: dict[str, Any]) -> dict[str, Any]:
        return {name: details[name] // 60_000 for name in ("duration_ms", "limit_ms")}


class MediaTooLarge(MediaError):
    """The file is too large. Details: ``bytes`` and ``limit_bytes``."""

    code = "media_too_large"
    sentence = _("The file has %(bytes)s MB; the limit is %(limit_bytes)s MB.")

    @classmethod
    def shown(cls, details: dict[str, Any]) -> dict[str, Any]:
        return {name: f"{details[name] / 1e6:,.0f}" for name in ("bytes", "limit_bytes")}


class ModelUnavailable(RecognitionError):
    """The weights are missing, damaged or not served; the operator must repair this."""

    code = "model_unavailable"
    permanent = False
    sentence = _("The recognition models are missing or damaged.")


class ModelTooLarge(ModelUnavailable):
    """A model needs more memory than is free. Details: ``need_bytes`` and ``free_bytes``."""

    code = "model_too_large"
    sentence = _("The model %(name)s needs %(need)s GB of memory; %(free)s GB are free.")

    @classmethod
    def shown(cls, details: dict[str, Any]) -> dict[str, Any]:
        sizes = {name: f"{details[f'{name}_bytes'] / 1e9:.1f}" for name in ("need", "free")}
        return {"name": details["name"], **sizes}


class WorkDiskFull(RecognitionError):
    """No disk space is left for decoded audio or results; the operator must free some."""

    code = "work_disk_full"
    permanent = False
    sentence = _("The portal’s own disk is full.")


class WorkFolderUnwritable(RecognitionError):
    """The work folder is read-only or belongs to another user."""

    code = "work_folder_unwritable"
    permanent = False
    sentence = _("The portal’s folder for files in process cannot be written.")


class FfmpegUnavailable(RecognitionError):
    """ffmpeg is missing or does not start; the operator must repair this."""

    code = "ffmpeg_unavailable"
    permanent = False
    sentence = _("The program that decodes media files (ffmpeg) does not run.")


class InstallationDamaged(RecognitionError):
    """A module or a file of the portal is missing; the operator must repair this."""

    code = "installation_damaged"
    permanent = False
    sentence = _("Files of the portal itself are missing on the machine that recognises.")


class HostExhausted(RecognitionError):
    """A limit of the machine or of ``ulimit`` is reached; the operator must raise it."""

    code = "host_exhausted"
    permanent = False
    sentence = _("The machine that recognises has no processes, open files or memory left.")


class GpuMemoryExhausted(RecognitionError):
    """The GPU's memory did not suffice for one file, even in the smallest batches. Others may go on."""

    code = "gpu_memory_exhausted"
    permanent = False
    sentence = _("The graphics card’s memory did not suffice for this file.")


def is_exhausted(error: Exception) -> bool:
    """Whether this process was refused a process, a thread, an open file or memory by the system.

    Not so for MemoryError, which a file may cause.
    """
    if isinstance(error, OSError):
        return error.errno in EXHAUSTED
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


class EngineUnavailable(RecognitionError):
    """No engine process runs, or its models do not load; the operator must repair this.

    Details: ``reason``, except while the cluster that owns the engine restarts.
    """

    code = "engine_unavailable"
    permanent = False
    sentence = _("The recognition engine does not run.")


class EngineDied(RecognitionError):
    """The engine process ended or was killed while this file was alone in it."""

    code = "engine_died"
    permanent = False
    sentence = _("The recognition process ended in the middle of the work.")


class EngineStalled(RecognitionError):
    """The engine process made no progress with this file for too long, or exceeded its time limit."""

    code = "engine_stalled"
    permanent = False
    sentence = _("Recognition made no progress for too long and was stopped.")


class UnexpectedFailure(RecognitionError):
    """Unexpected exception in this software or in a library; a retry may succeed."""

    code = "unexpected_failure"
    permanent = False
    sentence = _("An unexpected fault stopped the recognition.")
