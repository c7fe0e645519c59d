"""Acknowledgements of a batch's alerts on the dashboard: its error, and failed deliveries.

An acknowledgement is cleared when its subject changes: by another error, a recovery, resumed sending or a
redelivery. Failures of tasks are acknowledged in :mod:`batches.services.selected_tasks`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch, Delivery, Task, Webhook
from batches.models.batch import NOTE_LENGTH
from batches.services import tasks as task_services
from speechportal.accounts.audit import trail
from speechportal.accounts.models import AuditEntry


def acknowledge_error(*, batch: Batch, note: str = "") -> None:
    """Acknowledge the batch's error. Raises ``ValidationError`` if there is none, or for a long note."""
    found = Batch.objects.for_account(batch.account).live()
    found = found.filter(pk=batch.pk, status=Batch.Status.ERROR, acknowledged_at=None)
    with transaction.atomic():
        locked = task_services.lock_batch(batch)
        _require(found.update(**_mark(note)))
        trail.record(
            "batch.acknowledged", locked, changes={"error": [None, locked.cause], "note": [None, note]}
        )


def acknowledge_webhook(*, batch: Batch, note: str = "") -> None:
    """Acknowledge that sending has stopped, and the messages that the receiver did not accept.

    Raises ``ValidationError`` if there is neither, or for a long note.
    """
    with transaction.atomic():
        locked = task_services.lock_batch(batch)
        mark = _mark(note)
        webhooks, failed = _stopped(batch).update(**mark), _failed(batch).update(**mark)
        _require(webhooks + failed)
        trail.record(
            "batch.acknowledged", locked, changes={"deliveries": [None, failed], "note": [None, note]}
        )


def is_webhook_unseen(batch: Batch) -> bool:
    """Whether there is something to acknowledge by :func:`acknowledge_webhook`."""
    return _stopped(batch).exists() or _failed(batch).exists()


def entry_of(row: Batch | Webhook | Delivery | Task) -> AuditEntry | None:
    """Audit entry of a row's acknowledgement, which tells who made it.

    ``None`` if the row is not acknowledged, or if the entry is older than audit entries are kept.
    """
    if row.acknowledged_at is None:
        return None
    batch = row if isinstance(row, Batch) else row.batch
    subject = {Batch: "error", Task: "tasks"}.get(type(row), "deliveries")
    about = Q(target_uid=batch.uid, action="batch.acknowledged", changes__has_key=subject)
    if isinstance(row, Task):
        about |= Q(target_uid=row.uid, action="task.acknowledged")
    # The entry is written right after the row is marked, while the batch or the task is locked.
    entries = AuditEntry.objects.for_account(batch.account).filter(about, created_at__gte=row.acknowledged_at)
    return entries.select_related("actor").order_by("pk").first()


def _stopped(batch: Batch) -> QuerySet[Webhook]:
    own = Webhook.objects.for_account(batch.account).filter(batch=batch, acknowledged_at=None)
    return own.exclude(state=Webhook.State.ACTIVE)


def _failed(batch: Batch) -> QuerySet[Delivery]:
    """Messages that no attempt delivered and that nobody has acknowledged."""
    own = Delivery.objects.for_account(batch.account).filter(batch=batch)
    return own.filter(state=Delivery.State.FAILED, acknowledged_at=None).order_by()


def _mark(note: str) -> dict[str, object]:
    if len(note) > NOTE_LENGTH:
        raise ValidationError(_("A note has at most %d characters.") % NOTE_LENGTH, code="note_too_long")
    return {"acknowledged_at": timezone.now(), "acknowledgement": note}


def _require(changed: int) -> None:
    if not changed:
        raise ValidationError(
            _("There is nothing that nobody has acknowledged yet."), code="nothing_to_acknowledge"
        )


SUBJECTS: dict[str, Callable[..., None]] = {"error": acknowledge_error, "webhook": acknowledge_webhook}
