"""Outbox: inserts messages into the table of deliveries, in the transaction of the event they report.

Call :func:`announce` and :func:`announce_task` inside the transaction that makes the event happen.
:mod:`batches.webhooks.sender` sends the table's messages.
"""

from __future__ import annotations

from django.utils import timezone

from batches.models import Batch, Delivery, Task
from batches.webhooks import endpoint, events, payload
from batches.webhooks.events import Event
from batches.webhooks.kinds import WEBHOOK
from speechportal.accounts.models import Account
from speechportal.platform import queue


def announce(batch: Batch, event: Event) -> Delivery | None:
    """Queue a webhook message for the batch's receiver; ``None`` for a batch without a webhook URL.

    Announcing the same event again changes nothing and returns the existing delivery.
    """
    if not batch.webhook_url:
        return None
    endpoint.for_batch(batch)
    now = timezone.now()
    delivery, _created = Delivery.unscoped.get_or_create(
        batch=batch,
        kind=WEBHOOK,
        event=event.type,
        about=event.about,
        occurrence=event.occurrence,
        defaults={
            "account_id": batch.account_id,
            "task": event.task,
            "payload": payload.envelope(event.type, now, {**payload.of_batch(batch), **event.data()}),
            "next_attempt_at": now,
            "created_at": now,
        },
    )
    queue.wake_deliveries()
    return delivery


def announce_task(batch: Batch, task_id: int) -> Delivery | None:
    """Queue the message that the task was completed or has failed."""
    if not batch.webhook_url:
        return None
    task = Task.unscoped.select_related("original").get(pk=task_id)
    return announce(batch, events.of_ended_task(task))


def announce_to_account(account: Account, event: Event) -> list[Delivery]:
    """Queue an event of the account for the receivers of all its batches."""
    batches = Batch.unscoped.live().filter(account=account).exclude(webhook_url="").select_related("account")
    made = [announce(batch, event) for batch in batches.order_by("pk")]
    return [delivery for delivery in made if delivery is not None]
