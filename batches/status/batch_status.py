"""Batch status: Normal, or Error with the failure that stops the batch, and the events that announce both.

A batch whose account is held (:mod:`batches.status.account_holds`) shows the hold until it ends: no storage
error replaces it, and no successful poll ends it.
"""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from batches.models import Batch, BatchEvent, Task
from batches.models.batch import BatchQuerySet
from batches.status.failures import ACCOUNT_SUSPENDED, BUDGET_REACHED, HOST_FAULTS, MODEL_NOT_SERVED, Failure
from batches.webhooks import outbox
from batches.webhooks.events import BatchRecovered, BatchTurnedToError

HELD = (ACCOUNT_SUSPENDED, BUDGET_REACHED)
# Not set or ended by storage: see batches.tasks.model_hosts.
KEPT_BY_POLLS = (MODEL_NOT_SERVED, *HOST_FAULTS)

_UNSEEN: dict[str, Any] = {"acknowledged_at": None, "acknowledgement": ""}
_NORMAL: dict[str, Any] = {
    "status": Batch.Status.NORMAL,
    "cause_code": "",
    "cause": "",
    "cause_details": {},
    **_UNSEEN,
}


def set_error(batch_id: int, failure: Failure) -> None:
    """Turn the batch to Error: it stops until a person resolves the failure."""
    announce_error(Batch.unscoped.live().filter(pk=batch_id).exclude(cause_code__in=HELD), failure)


def set_normal(batch_id: int) -> None:
    """Turn the batch to Normal, unless its account is held."""
    recover(_in_error(batch_id))


def after_successful_poll(batch_id: int) -> None:
    """Turn the batch to Normal after a successful poll, unless a waiting task has the same failure."""
    waiting = Task.unscoped.filter(batch=batch_id, state=Task.State.WAITING)
    mended = _in_error(batch_id).exclude(cause_code__in=KEPT_BY_POLLS)
    recover(mended.filter(~Exists(waiting.filter(error_code=OuterRef("cause_code")))))


def _in_error(batch_id: int) -> BatchQuerySet:
    return Batch.unscoped.filter(pk=batch_id, status=Batch.Status.ERROR).exclude(cause_code__in=HELD)


def announce_error(batches: BatchQuerySet, failure: Failure) -> int:
    """Turn batches to Error and announce it; returns how many were not in that error before."""
    changing = batches.exclude(status=Batch.Status.ERROR, cause_code=failure.code, cause=failure.message)
    with transaction.atomic():
        announced = _locked(changing)
        changed = changing.update(
            status=Batch.Status.ERROR,
            cause_code=failure.code,
            cause=failure.message,
            cause_details=dict(failure.details),
            **_UNSEEN,
        )
        for batch in announced:
            batch.cause_code, batch.cause = failure.code, failure.message
            if batch.webhook_url:
                outbox.announce(batch, BatchTurnedToError(batch.uid, failure.code, failure.message))
        _note(announced, failure.code, failure.message)
    return changed


def recover(batches: BatchQuerySet, **values: Any) -> None:
    """Turn batches to Normal and announce it."""
    if not batches.exists():  # The usual case, since each poll calls this.
        return
    with transaction.atomic():
        announced = _locked(batches)
        batches.update(**_NORMAL, **values)
        for batch in announced:
            if batch.webhook_url:
                outbox.announce(batch, BatchRecovered(batch.uid, batch.cause_code, batch.cause))
        _note(announced, "", "")


def _note(batches: list[Batch], code: str, cause: str) -> None:
    """Store the change for the notifications of members."""
    BatchEvent.unscoped.bulk_create(
        BatchEvent(account_id=batch.account_id, batch=batch, code=code, cause=cause) for batch in batches
    )


def _locked(batches: BatchQuerySet) -> list[Batch]:
    """Lock the batches, before their status changes."""
    rows = batches.select_related("account").order_by("pk")
    return list(rows.select_for_update(of=("self",), no_key=True))
