"""Recognition errors: what can go wrong between a media file and its transcript, as typed exceptions."""

from __future__ import annotations

import errno
from typing import Any

# What writing says where there is no room; the last answers a limit on the size of files (ulimit -f).
NO_ROOM = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EFBIG])


class RecognitionError(Exception):
    """A failure of one file, with a stable code and a sentence that a person can act on.

    ``code`` is a short snake_case name that never changes once released. ``message`` is plain English; the
    portal translates it by ``code`` and ``details``. ``permanent`` says that the same bytes will fail
    again: such a task is not retried.
    """

    code = "recognition_failed"
    permanent = True

    def __init__(self, message: str, **details: str | int | float) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """What the engine process reports to its client."""
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "permanent": self.permanent,
        }

    @staticmethod
    def from_dict(document: dict[str, Any]) -> RecognitionError:
        """The error that :meth:`to_dict` wrote, of the class that has its code."""
        known = {RecognitionError}
        while more := {child for kind in known for child in kind.__subclasses__()} - known:
            known |= more
        kind = next((kind for kind in known if kind.code == document["code"]), RecognitionError)
        return kind(document["message"], **document["details"])


class MediaError(RecognitionError):
    """The file cannot be recognised as it is."""

    code = "media_error"


class EmptyFile(MediaError):
    code = "empty_file"


class NotMedia(MediaError):
    code = "not_media"


class NoAudioStream(MediaError):
    code = "no_audio"


class DamagedMedia(MediaError):
    code = "damaged_media"


class EncryptedMedia(MediaError):
    code = "encrypted_media"


class MediaTooLong(MediaError):
    code = "media_too_long"


class MediaTooLarge(MediaError):
    code = "media_too_large"


class ModelUnavailable(RecognitionError):
    """The weights are missing or do not match their checksum: the operator's to mend, so worth a retry."""

    code = "model_unavailable"
    permanent = False


class WorkDiskFull(RecognitionError):
    """There is no room for what is decoded or found: the operator's to mend, so worth a retry."""

    code = "work_disk_full"
    permanent = False

    def __init__(
        self, message: str = "The portal's own disk is full; the operator has to make room.", **details: Any
    ) -> None:
        super().__init__(message, **details)


class EngineUnavailable(RecognitionError):
    """No engine process runs, or it ends while its models load: the operator's to mend, so worth a retry."""

    code = "engine_unavailable"
    permanent = False


class EngineDied(RecognitionError):
    """The engine process ended or was killed while this file was alone in it."""

    code = "engine_died"
    permanent = False


class EngineStalled(RecognitionError):
    """The engine process made no progress with this file for too long, or took longer than it may."""

    code = "engine_stalled"
    permanent = False


class UnexpectedFailure(RecognitionError):
    """A fault of ours or of a library; another attempt may fare better."""

    code = "unexpected_failure"
    permanent = False
