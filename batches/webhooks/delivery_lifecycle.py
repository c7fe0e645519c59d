"""Delivery lifecycle: every change of a delivery's state (claim, record, reap).

A sender claims deliveries by lease, as workers claim tasks; each attempt is counted at its claim. Leases go
by the database's clock. An outcome is recorded only while the row still has the sender's token and the number
of the attempt, so a sender whose lease expired changes nothing. Deliveries about one object are sent in the
order in which they were made: the next waits until the one before has ended.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from batches.models import Batch, Delivery, DeliveryAttempt, Webhook
from batches.webhooks import retry_policy
from speechportal.platform import database_clock

State = Delivery.State
GONE = 410


@dataclass(frozen=True)
class Outcome:
    """Outcome of one attempt."""

    delivery_id: int
    attempt: int
    url: str  # URL of the request
    started_at: datetime
    duration: int  # ms
    status: int | None = None  # HTTP status of the response
    error_code: str = ""
    error: str = ""
    answer: str = ""  # beginning of the response
    retry_after: timedelta | None = None
    by_receiver: bool = True  # False: an error of the portal, which does not count against the receiver

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def problem(self) -> str:
        return self.error or f"HTTP {self.status}"


@dataclass(frozen=True)
class Channel:
    """Channel: messages of one kind of one batch; the unit by which a sender's threads are shared out."""

    kind: str
    batch: Batch
    sending: int = 0  # claims by any sender
    is_failing: bool = False

    @property
    def key(self) -> tuple[str, int]:
        return self.kind, self.batch.pk


def due(now: datetime) -> QuerySet[Delivery]:
    """Deliveries whose next attempt is due, regardless of their receiver's state."""
    before = Delivery.unscoped.filter(
        batch=OuterRef("batch"),
        kind=OuterRef("kind"),
        about=OuterRef("about"),
        pk__lt=OuterRef("pk"),
        state__in=Delivery.OPEN,
    )
    return Delivery.unscoped.filter(~Exists(before), state=State.WAITING, next_attempt_at__lte=now)


def ready_webhooks(now: datetime) -> QuerySet[Webhook]:
    """Webhooks with due deliveries, each with ``sending``: its number of claims by all senders."""
    messages = Delivery.unscoped.filter(batch=OuterRef("batch"), kind=Delivery.WEBHOOK)
    claimed = messages.filter(state=State.SENDING).order_by()
    claims = claimed.values("batch").annotate(n=Count("pk")).values("n")
    # Looked up webhook by webhook: as a join, PostgreSQL would compare each webhook with all that waits.
    first = due(now).filter(batch=OuterRef("batch"), kind=Delivery.WEBHOOK).order_by().values("pk")[:1]
    return (
        Webhook.unscoped.filter(Q(held_until=None) | Q(held_until__lte=now), state=Webhook.State.ACTIVE)
        .exclude(batch__webhook_url="")
        .annotate(first_due=Subquery(first), sending=Coalesce(Subquery(claims), 0))
        .filter(first_due__isnull=False)
        .select_related("batch__account")
    )


def ready_channels(now: datetime) -> list[Channel]:
    """Channels with due deliveries: those of webhooks that can be sent to, and of all other kinds."""
    channels = [
        Channel(
            Delivery.WEBHOOK,
            webhook.batch,
            sending=getattr(webhook, "sending", 0),
            is_failing=webhook.failing_since is not None,
        )
        for webhook in ready_webhooks(now)
    ]
    others = _due_others(now).order_by().values_list("kind", "batch").distinct()
    if keys := list(others):
        ids = {batch_id for _kind, batch_id in keys}
        batches = Batch.unscoped.select_related("account").in_bulk(ids)
        claimed = Delivery.unscoped.filter(batch__in=ids, state=State.SENDING).order_by()
        sending = {
            (kind, batch_id): n
            for kind, batch_id, n in claimed.values_list("kind", "batch").annotate(n=Count("pk"))
        }
        channels += [
            Channel(kind, batches[batch_id], sending=sending.get((kind, batch_id), 0))
            for kind, batch_id in keys
        ]
    return channels


def is_any_ready(now: datetime) -> bool:
    return ready_webhooks(now).exists() or _due_others(now).exists()


def _due_others(now: datetime) -> QuerySet[Delivery]:
    return due(now).exclude(kind=Delivery.WEBHOOK)


def sendable(now: datetime) -> QuerySet[Delivery]:
    """Waiting deliveries that only their time holds back; for metrics, health checks and alerts."""
    active = Q(batch__webhook__state=Webhook.State.ACTIVE) & ~Q(batch__webhook_url="")
    free = Q(batch__webhook__held_until=None) | Q(batch__webhook__held_until__lte=now)
    return Delivery.unscoped.filter(~Q(kind=Delivery.WEBHOOK) | (active & free), state=State.WAITING)


def claim(channel: Channel, limit: int, token: uuid.UUID, now: datetime) -> list[Delivery]:
    """Claim up to ``limit`` due deliveries of a channel for the sender that holds ``token``."""
    with transaction.atomic():
        candidates = due(now).filter(batch=channel.batch.pk, kind=channel.kind)
        candidates = candidates.order_by("next_attempt_at", "pk")
        locked = candidates.select_for_update(skip_locked=True, of=("self",), no_key=True)
        ids = list(locked.values_list("pk", flat=True)[:limit])
        Delivery.unscoped.filter(pk__in=ids, state=State.WAITING).update(
            state=State.SENDING,
            attempts=F("attempts") + 1,
            tries=F("tries") + 1,
            lease_token=token,
            lease_expires_at=database_clock.after(settings.WEBHOOK_LEASE_SECONDS),
        )
        claimed = list(Delivery.unscoped.filter(pk__in=ids, state=State.SENDING, lease_token=token))
    for delivery in claimed:
        delivery.batch = channel.batch
    return claimed


def record(outcomes: Iterable[Outcome], token: uuid.UUID, now: datetime) -> None:
    """Log attempts, end or postpone their deliveries, and update the webhooks' health; in one transaction."""
    by_id = {outcome.delivery_id: outcome for outcome in outcomes}
    with transaction.atomic():
        claimed = Delivery.unscoped.filter(pk__in=by_id, state=State.SENDING, lease_token=token)
        locked = claimed.select_for_update(of=("self",), no_key=True).order_by("pk")
        known = [
            (row, by_id[row.pk])
            for row in locked.select_related("batch__webhook")
            if row.attempts == by_id[row.pk].attempt
        ]
        _log(known)
        _deliver([(row, outcome) for row, outcome in known if outcome.accepted], now)
        for row, outcome in known:
            if not outcome.accepted:
                _postpone(row, outcome, now)
        answers: dict[int, list[Outcome]] = defaultdict(list)
        webhooks: dict[int, Webhook] = {}
        for row, outcome in known:
            # After a change of the URL, the old receiver's response does not count for the new one.
            if row.kind == Delivery.WEBHOOK and outcome.by_receiver and outcome.url == row.url:
                answers[row.batch_id].append(outcome)
                webhooks[row.batch_id] = row.batch.webhook
        for batch_id, of_batch in sorted(answers.items()):
            _judge(webhooks[batch_id], of_batch, now)


def _log(known: Sequence[tuple[Delivery, Outcome]]) -> None:
    DeliveryAttempt.unscoped.bulk_create(
        DeliveryAttempt(
            delivery=row,
            number=outcome.attempt,
            started_at=outcome.started_at,
            duration=outcome.duration,
            status=outcome.status,
            error_code=outcome.error_code,
            error=outcome.error,
            answer=outcome.answer,
        )
        for row, outcome in known
    )


def _deliver(accepted: Sequence[tuple[Delivery, Outcome]], now: datetime) -> None:
    by_status: dict[int | None, list[int]] = defaultdict(list)
    for row, outcome in accepted:
        by_status[outcome.status].append(row.pk)
    for status, ids in by_status.items():
        Delivery.unscoped.filter(pk__in=ids).update(
            state=State.DELIVERED,
            ended_at=now,
            lease_token=None,
            lease_expires_at=None,
            last_status=status,
            last_error="",
        )


def _postpone(row: Delivery, outcome: Outcome, now: datetime) -> None:
    """Postpone a delivery, or end it after its last attempt or if its URL was removed."""
    wait = retry_policy.delay(row.tries, outcome.retry_after)
    if outcome.status == GONE and outcome.url == row.url:
        wait = None
    state = State.WAITING if wait is not None else State.FAILED
    if not row.url:
        state = State.CANCELLED
    Delivery.unscoped.filter(pk=row.pk).update(
        state=state,
        ended_at=None if state == State.WAITING else now,
        next_attempt_at=now + wait if wait is not None else row.next_attempt_at,
        lease_token=None,
        lease_expires_at=None,
        last_status=outcome.status,
        last_error=outcome.error_code,
    )


def _judge(webhook: Webhook, answers: list[Outcome], now: datetime) -> None:
    """Update a webhook's state and health from its receiver's latest responses."""
    row = Webhook.unscoped.filter(pk=webhook.pk, state=Webhook.State.ACTIVE)
    gone = next((answer for answer in answers if answer.status == GONE), None)
    if gone is not None:
        row.update(state=Webhook.State.GONE, stopped_at=now, last_problem=gone.problem)
    elif any(answer.accepted for answer in answers):
        row.exclude(failing_since=None).update(failing_since=None, last_failed_at=None, last_problem="")
    else:
        since = retry_policy.failing_since(webhook.failing_since, webhook.last_failed_at, now)
        values = {"failing_since": since, "last_failed_at": now, "last_problem": answers[-1].problem}
        if retry_policy.is_dead(since, now):
            values |= {"state": Webhook.State.PAUSED, "stopped_at": now}
        row.update(**values)
        _hold(row, answers, now)


def _hold(row: QuerySet[Webhook], answers: list[Outcome], now: datetime) -> None:
    """Apply the Retry-After of a response 429 or 503 to all messages of the webhook."""
    waits = [answer.retry_after for answer in answers if answer.status in {429, 503} and answer.retry_after]
    if waits:
        row.update(held_until=now + max(waits))


def reap(now: datetime) -> int:
    """Release deliveries whose sender died; it is unknown whether their messages arrived.

    They are sent again at once, with the same ID, by which a receiver recognises a repeat.
    """
    reaped = 0
    expired = Delivery.unscoped.filter(state=State.SENDING, lease_expires_at__lt=database_clock.after())
    for row in expired.order_by("lease_expires_at")[:1000]:
        with transaction.atomic():
            last = row.tries >= retry_policy.ATTEMPTS
            freed = Delivery.unscoped.filter(
                pk=row.pk, state=State.SENDING, lease_token=row.lease_token, attempts=row.attempts
            ).update(
                state=State.FAILED if last else State.WAITING,
                ended_at=now if last else None,
                next_attempt_at=now,
                lease_token=None,
                lease_expires_at=None,
                last_status=None,
                last_error="sender_died",
            )
            if freed and row.lease_expires_at:
                DeliveryAttempt.unscoped.create(
                    delivery=row,
                    number=row.attempts,
                    started_at=row.lease_expires_at - timedelta(seconds=settings.WEBHOOK_LEASE_SECONDS),
                    error_code="sender_died",
                    error="The sender ended before it could note the answer.",
                )
        reaped += freed
    return reaped
