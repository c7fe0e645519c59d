"""Unredacted original of a transcript, for owners of the account; every access is in the audit trail."""

from __future__ import annotations

from batches.models import StoredTranscript, Task
from batches.recognition.transcript import Transcript
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Membership


def is_redacted(task: Task) -> bool:
    return task.settings is not None and bool(task.settings.redaction)


def may_see(task: Task, membership: Membership) -> bool:
    """Whether the member may read redacted data: only owners of the task's account may."""
    return membership.role == Membership.Role.OWNER and membership.account_id == task.account_id


def is_kept(task: Task) -> bool:
    """Whether the unredacted original is stored beside the redacted transcript."""
    if task.settings is None or not task.settings.redaction.keep_original:
        return False
    return StoredTranscript.unscoped.filter(task=task).exclude(original="").exists()


def read(*, task: Task) -> Transcript | None:
    """Unredacted original; ``None`` if it is not stored. Records the access in the audit trail."""
    if not is_kept(task):
        return None
    row = StoredTranscript.unscoped.select_related("task__account").get(task=task)
    trail.record("task.original_read", task)
    return row.recognised()
