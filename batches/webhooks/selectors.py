"""Selectors of webhooks and deliveries for pages and the API. Each reads the rows of one account."""

from __future__ import annotations

from django.db.models import Count, QuerySet

from batches.models import Batch, Delivery, DeliveryAttempt, Task, Webhook
from batches.webhooks.events import EVENTS
from speechportal.accounts.models import Account


def webhook_of(account: Account, batch: Batch) -> Webhook | None:
    """Webhook of the batch; ``None`` if it never had one."""
    return Webhook.objects.for_account(account).filter(batch=batch).select_related("batch__account").first()


def list_deliveries(
    account: Account,
    *,
    batch: Batch | None = None,
    task: Task | None = None,
    state: str = "",
    event: str = "",
) -> QuerySet[Delivery]:
    """Deliveries, newest first; an unknown state or event does not filter."""
    deliveries = Delivery.objects.for_account(account).select_related("batch", "task").order_by("-pk")
    if batch is not None:
        deliveries = deliveries.filter(batch=batch)
    if task is not None:
        deliveries = deliveries.filter(task=task)
    if state in Delivery.State.values:
        deliveries = deliveries.filter(state=state)
    if event in EVENTS:
        deliveries = deliveries.filter(event=event)
    return deliveries


def attempts_of(account: Account, delivery: Delivery) -> QuerySet[DeliveryAttempt]:
    """Attempts in order. Show ``answer`` to owners and managers (``membership.can_change``) only."""
    return DeliveryAttempt.objects.for_account(account).filter(delivery=delivery).order_by("number")


def open_deliveries(account: Account, batch: Batch) -> dict[str, int]:
    """Number of a batch's waiting, sending and failed deliveries by state, without zeros."""
    rows = (
        Delivery.objects.for_account(account)
        .filter(batch=batch, state__in=[*Delivery.OPEN, Delivery.State.FAILED])
        .order_by()
        .values_list("state")
        .annotate(n=Count("pk"))
    )
    return {str(state): int(n) for state, n in rows}
