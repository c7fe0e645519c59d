"""Retention: a daily job deletes transcripts and logs after the retention period of their account."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from batches.models import (
    Batch,
    BatchEvent,
    CorrectedWord,
    Correction,
    Delivery,
    DeliveryAttempt,
    SearchText,
    StoredTranscript,
    StreamedSegments,
    Task,
    TaskAttempt,
)
from speechportal.accounts.models import LONGEST_RETENTION, Account, AuditEntry, MemberSession, SignInFailures

logger = logging.getLogger(__name__)
CHUNK = 500
STREAM_DAYS = 1  # A client that reads a stream waits for an hour at most.
SIGN_IN_DAYS = 90  # Wrong passwords, with addresses, of the whole installation.


def enforce(now: datetime | None = None) -> Counter[str]:
    """Delete data older than the retention period of its account or batch, whichever is shorter.

    Returns the number of deleted rows by kind.
    """
    now = now or timezone.now()
    removed: Counter[str] = Counter()
    for account in Account.objects.exclude(transcript_days=None).order_by("pk"):
        tasks = Task.unscoped.filter(account=account)
        removed += remove_transcripts(tasks, _before(now, account.transcript_days))
    for batch in Batch.unscoped.exclude(transcript_days=None).order_by("pk"):
        tasks = Task.unscoped.filter(batch=batch)
        removed += remove_transcripts(tasks, _before(now, batch.transcript_days))
    for account in Account.objects.exclude(log_days=None).order_by("pk"):
        removed += remove_logs(account, _before(now, account.log_days))
    removed["sessions"] = MemberSession.objects.filter(expire_date__lt=now).delete()[0]
    old = SignInFailures.objects.filter(last_at__lt=now - timedelta(days=SIGN_IN_DAYS))
    removed["sign-in attempts"] = old.delete()[0]
    sent = StreamedSegments.unscoped.filter(created_at__lt=now - timedelta(days=STREAM_DAYS))
    removed["streamed segments"] = in_chunks(sent)
    logger.info("retention removed %s", dict(removed) or "nothing")
    return removed


def _before(now: datetime, days: int | None) -> datetime:
    assert days is not None  # noqa: S101 - callers filter out accounts without a period
    return now - timedelta(days=min(days, LONGEST_RETENTION))


def remove_transcripts(tasks: QuerySet[Task], before: datetime) -> Counter[str]:
    """Delete transcripts, corrections and search texts of tasks that ended before a time.

    Files in the storage stay.
    """
    ended = tasks.filter(state__in=Task.FINAL, finished_at__lt=before)
    removed: Counter[str] = Counter()
    for name, rows in (
        ("corrected words", CorrectedWord.unscoped.filter(task__in=ended)),
        ("corrections", Correction.unscoped.filter(task__in=ended)),
        ("search texts", SearchText.unscoped.filter(task__in=ended)),
        ("transcripts", StoredTranscript.unscoped.filter(task__in=ended)),
    ):
        removed[name] = in_chunks(rows)
    return removed


def remove_logs(account: Account, before: datetime) -> Counter[str]:
    """Delete logs before a time: ended deliveries with their attempts, attempts at tasks, audit entries."""
    ended = Delivery.unscoped.filter(account=account, state__in=Delivery.FINAL, ended_at__lt=before)
    removed: Counter[str] = Counter()
    removed["delivery attempts"] = in_chunks(DeliveryAttempt.unscoped.filter(delivery__in=ended))
    removed["deliveries"] = in_chunks(ended)
    removed["status events"] = in_chunks(BatchEvent.unscoped.filter(account=account, created_at__lt=before))
    attempts = TaskAttempt.unscoped.filter(task__account=account, ended_at__lt=before)
    removed["attempts at tasks"] = in_chunks(attempts)
    trail = AuditEntry.unscoped.filter(account=account)
    removed["audit entries"] = trail.expire(before)
    return removed


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
