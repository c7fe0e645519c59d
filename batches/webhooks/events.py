"""What happened becomes a delivery, in the transaction in which it happened.

Every function is to be called inside the transaction that makes its event true, and does nothing for a
batch without a webhook URL. Calling it twice for the same event makes one delivery.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone

from batches.models import Batch, Delivery, ExecutionResult, ResultFile, Task
from batches.webhooks import endpoint, payload
from speechportal.accounts.models import Account
from speechportal.platform import queue

Event = Delivery.Event


def announce(
    event: Delivery.Event,
    *,
    batch: Batch,
    about: str,
    data: dict[str, Any],
    occurrence: str = "",
    task: Task | None = None,
) -> Delivery | None:
    """A delivery of ``event`` to the batch's receiver; ``None`` where there is no webhook.

    ``about`` is the ID of what the event happened to, ``occurrence`` tells its events of one kind apart
    (at most 40 characters): for the three together with ``event`` there is one delivery.
    ``data`` is what the payload's ``data`` holds beside the account and the batch; plain JSON.
    """
    if not batch.webhook_url:
        return None
    endpoint.of(batch)
    now = timezone.now()
    delivery, _created = Delivery.unscoped.get_or_create(
        batch=batch,
        event=event,
        about=about,
        occurrence=occurrence,
        defaults={
            "account_id": batch.account_id,
            "task": task,
            "payload": payload.envelope(event, now, {**payload.of_batch(batch), **data}),
            "next_attempt_at": now,
            "created_at": now,
        },
    )
    queue.wake_deliveries()
    return delivery


def announce_task(batch: Batch, task_id: int) -> Delivery | None:
    """The task has just been completed or has failed."""
    if not batch.webhook_url:
        return None
    task = Task.unscoped.select_related("original").get(pk=task_id)
    files = ResultFile.unscoped.filter(task=task, written_at__isnull=False)
    completed = task.state == Task.State.COMPLETED
    return announce(
        Event.TASK_COMPLETED if completed else Event.TASK_FAILED,
        batch=batch,
        about=task.uid,
        # A failed task that is retried ends once more: another event.
        occurrence=_moment(task.finished_at),
        data=payload.of_task(task, files),
        task=task,
    )


def announce_batch_error(batch: Batch) -> Delivery | None:
    """The batch's status has just turned to Error, or its cause has changed."""
    data = {"cause": {"code": batch.cause_code, "message": batch.cause}}
    return announce(Event.BATCH_ERROR, batch=batch, about=batch.uid, occurrence=uuid.uuid4().hex, data=data)


def announce_batch_recovered(batch: Batch, *, after_code: str, after_message: str) -> Delivery | None:
    """The batch's status has just turned to Normal; what was wrong until then is told too."""
    data = {"cause": {"code": after_code, "message": after_message}}
    return announce(
        Event.BATCH_RECOVERED, batch=batch, about=batch.uid, occurrence=uuid.uuid4().hex, data=data
    )


def announce_execution_result(result: ExecutionResult) -> Delivery | None:
    """The execution result's file has just been written to the result path."""
    return announce(
        Event.EXECUTION_RESULT_CREATED,
        batch=result.batch,
        about=result.uid,
        data=payload.of_execution_result(result),
    )


def announce_budget_reached(
    account: Account, *, month: str, budget: Decimal, spent: Decimal
) -> list[Delivery]:
    """The account's budget for ``month`` (``2026-11``) does not cover another file: told by all its batches.

    Once for each month and amount: a budget that was raised and is reached again is another event.
    """
    data = {
        "budget": {
            "month": month,
            "amount": str(budget),
            "spent": str(spent),
            "currency": account.currency,
        }
    }
    batches = Batch.unscoped.live().filter(account=account).exclude(webhook_url="").select_related("account")
    made = [
        announce(
            Event.BUDGET_REACHED,
            batch=batch,
            about=account.uid,
            occurrence=f"{month}/{budget.normalize():f}",
            data=data,
        )
        for batch in batches.order_by("pk")
    ]
    return [delivery for delivery in made if delivery is not None]


def _moment(when: datetime | None) -> str:
    return when.isoformat() if when else ""
