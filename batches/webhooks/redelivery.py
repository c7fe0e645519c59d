"""Redelivery of messages, and test messages. Refusals are ``ValidationError`` with a code and a sentence."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch, Delivery, Webhook
from batches.webhooks import endpoint, outbox
from batches.webhooks.events import WebhookTest
from speechportal.accounts.audit import trail
from speechportal.platform import queue

State = Delivery.State


def redeliver(*, delivery: Delivery) -> None:
    """Send a delivery again, now and with the full retry schedule. It keeps its ID."""
    if delivery.kind == Delivery.WEBHOOK:
        _require_active(delivery.batch)
    with transaction.atomic():
        if not _again(Delivery.unscoped.filter(pk=delivery.pk)):
            raise ValidationError(_("The delivery is being sent at this moment."), code="delivery_sending")
        trail.record("delivery.redelivered", delivery)
        queue.wake_deliveries()
    delivery.refresh_from_db()


def redeliver_since(*, batch: Batch, since: datetime, only_failed: bool = True) -> int:
    """Send webhook messages made since a time again: failed and cancelled ones, or all. Returns how many."""
    _require_active(batch)
    deliveries = Delivery.unscoped.filter(batch=batch, kind=Delivery.WEBHOOK, created_at__gte=since)
    wanted = deliveries.filter(state__in=[State.FAILED, State.CANCELLED] if only_failed else Delivery.FINAL)
    with transaction.atomic():
        count = _again(wanted)
        if count:
            trail.record("batch.redelivered", batch, changes={"deliveries": [None, count]})
            queue.wake_deliveries()
    return count


def _again(deliveries: QuerySet[Delivery]) -> int:
    return deliveries.filter(~Q(state=State.SENDING)).update(
        state=State.WAITING,
        tries=0,
        next_attempt_at=timezone.now(),
        ended_at=None,
        acknowledged_at=None,
        acknowledgement="",
    )


def send_test(*, batch: Batch) -> Delivery:
    """Queue a test message. It is logged and retried like any other."""
    _require_active(batch)
    with transaction.atomic():
        test = WebhookTest(batch.uid, "This is a test: a member of the account asked for it.")
        delivery = outbox.announce(batch, test)
    assert delivery is not None  # noqa: S101 - the batch has a URL
    return delivery


def _require_active(batch: Batch) -> None:
    if not batch.webhook_url:
        raise ValidationError(_("The batch has no webhook URL."), code="no_webhook")
    if endpoint.for_batch(batch).state != Webhook.State.ACTIVE:
        raise ValidationError(
            _("Sending to this webhook has stopped. Resume it first."), code="webhook_stopped"
        )
