"""Playback of a task's recording: members get the muted copy if something was redacted."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from batches.models import StoredTranscript, Task
from batches.transcripts import originals
from batches.worker import muted_copy
from speechportal.accounts.audit import trail

NOT_MUTED = _("There is no muted copy of this recording, which holds what was redacted.")


def key_for_members(task: Task) -> str | None:
    """Storage key of the audio for any member; ``None`` if only the unmuted recording exists."""
    if not originals.is_redacted(task):
        return _key(task)
    if (copy := muted_copy.of(task)) is not None:
        return copy.key
    checkpoint = StoredTranscript.unscoped.filter(task=task).first()
    # Without a transcript it is not known whether the recording contains sensitive data.
    nothing = checkpoint is not None and not muted_copy.spans(checkpoint.published())
    return _key(task) if nothing else None


def key_for_owner(task: Task) -> str:
    """Storage key of the unmuted recording; records the owner's access in the audit trail."""
    trail.record("task.original_heard", task)
    return _key(task)


def _key(task: Task) -> str:
    return task.moved_key if task.moved_at else task.input_key
