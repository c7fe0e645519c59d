"""Retention: a daily job deletes transcripts and logs after the retention period of their account."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Min, Model, QuerySet
from django.utils import timezone

from batches.models import (
    BatchEvent,
    CorrectedWord,
    Correction,
    Delivery,
    DeliveryAttempt,
    SearchText,
    StoredTranscript,
    StreamedSegments,
    TaskAttempt,
)
from speechportal.accounts.models import LONGEST_RETENTION, Account, AuditEntry, MemberSession, SignInFailures

logger = logging.getLogger(__name__)
CHUNK = 500  # rows of a transaction
PASS = 5000  # rows that are looked at at once
STREAM_DAYS = 1  # A client that reads a stream waits for an hour at most.
SIGN_IN_DAYS = 90  # Wrong passwords, with addresses, of the whole installation.


def enforce(now: datetime | None = None) -> Counter[str]:
    """Delete data older than the retention period of its account or batch, whichever is shorter.

    Returns the number of deleted rows by kind.
    """
    now = now or timezone.now()
    removed: Counter[str] = Counter()
    for name, model in TRANSCRIPTS:
        days = ("task__account__transcript_days", "task__batch__transcript_days")
        for keys in _expired(model.unscoped.all(), "task__finished_at", days, now):
            removed[name] += in_chunks(model.unscoped.filter(pk__in=keys))
    removed += _remove_logs(now)
    removed["sessions"] = MemberSession.objects.filter(expire_date__lt=now).delete()[0]
    old = SignInFailures.objects.filter(last_at__lt=now - timedelta(days=SIGN_IN_DAYS))
    removed["sign-in attempts"] = old.delete()[0]
    sent = StreamedSegments.unscoped.filter(created_at__lt=now - timedelta(days=STREAM_DAYS))
    removed["streamed segments"] = in_chunks(sent)
    logger.info("retention removed %s", dict(removed) or "nothing")
    return removed


# Deleted with a transcript; files in the storage stay. The time that counts is the end of the task.
TRANSCRIPTS: tuple[tuple[str, Any], ...] = (
    ("corrected words", CorrectedWord),
    ("corrections", Correction),
    ("search texts", SearchText),
    ("transcripts", StoredTranscript),
)


def _before(now: datetime, days: int) -> datetime:
    return now - timedelta(days=min(days, LONGEST_RETENTION))


def _remove_logs(now: datetime) -> Counter[str]:
    """Delete old logs: ended deliveries, attempts at tasks, status events and audit entries."""
    removed: Counter[str] = Counter()
    ended = Delivery.unscoped.filter(state__in=Delivery.FINAL)
    for keys in _expired(ended, "ended_at", ("account__log_days",), now):
        removed["delivery attempts"] += in_chunks(DeliveryAttempt.unscoped.filter(delivery__in=keys))
        removed["deliveries"] += in_chunks(Delivery.unscoped.filter(pk__in=keys))
    for keys in _expired(TaskAttempt.unscoped.all(), "ended_at", ("task__account__log_days",), now):
        removed["attempts at tasks"] += in_chunks(TaskAttempt.unscoped.filter(pk__in=keys))
    for account in Account.objects.exclude(log_days=None).order_by("pk"):
        before = _before(now, account.log_days or 0)
        events = BatchEvent.unscoped.filter(account=account, created_at__lt=before)
        removed["status events"] += in_chunks(events)
        removed["audit entries"] += AuditEntry.unscoped.filter(account=account).expire(before)
    return removed


def _expired(rows: QuerySet[Any], ended: str, days: Sequence[str], now: datetime) -> Iterator[list[int]]:
    """Primary keys of rows older than their retention, the shortest of ``days``, in pieces.

    One pass over the table by primary key, for all accounts. What is kept is read once, however old the
    tasks are that have nothing any more; by account, the database would look at all of these each time.
    """
    found = rows.aggregate(first=Min("pk"), last=Max("pk"))
    limited = [value for value in (_shortest(rows.model, path) for path in days) if value is not None]
    if found["first"] is None or not limited:
        return
    oldest = _before(now, min(limited))
    for start in range(found["first"], found["last"] + 1, PASS):
        piece = rows.filter(pk__gte=start, pk__lt=start + PASS, **{f"{ended}__lt": oldest}).order_by()
        keys = [
            pk
            for pk, at, *own in piece.values_list("pk", ended, *days)
            if (kept := [each for each in own if each is not None]) and at < _before(now, min(kept))
        ]
        if keys:
            yield keys


def _shortest(model: type[Model], path: str) -> int | None:
    """The shortest retention that any account or batch has, by the path of its column from ``model``."""
    *relations, column = path.split("__")
    for name in relations:
        related = model._meta.get_field(name).related_model
        assert isinstance(related, type)  # noqa: S101 - for the type checker
        model = related
    shortest: int | None = model._base_manager.aggregate(days=Min(column))["days"]
    return shortest


def in_chunks(rows: QuerySet[Any]) -> int:
    """Delete rows in small transactions, since a long one would block others.

    Each piece begins after the one before: otherwise a condition on another table would be looked up again
    for all rows that stay.
    """
    removed, last = 0, 0
    model = rows.model
    while keys := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        model._base_manager.filter(pk__in=keys).delete()
        removed, last = removed + len(keys), keys[-1]
    return removed
