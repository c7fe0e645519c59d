"""Retention: a daily job deletes transcripts and logs that are older than their account keeps them."""

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
    Task,
    TaskAttempt,
)
from speechportal.accounts.models import LONGEST_RETENTION, Account, AuditEntry, MemberSession, SignInFailures

logger = logging.getLogger(__name__)
CHUNK = 500
SIGN_IN_DAYS = 90  # Wrong passwords, with addresses, of the whole installation.


def enforce(now: datetime | None = None) -> Counter[str]:
    """Remove what is older than its account or its batch keeps it, whichever is shorter.

    Returns how many rows of what kind went.
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
    logger.info("retention removed %s", dict(removed) or "nothing")
    return removed


def _before(now: datetime, days: int | None) -> datetime:
    assert days is not None  # noqa: S101 - the callers leave out whoever has said nothing
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
    """Delete deliveries that ended before a time, with their attempts, attempts at tasks, and the audit trail
    up to it."""
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
    """Delete rows in small transactions, so that nobody waits for a long one."""
    removed = 0
    model = rows.model
    while keys := list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK]):
        model._base_manager.filter(pk__in=keys).delete()
        removed += len(keys)
    return removed
