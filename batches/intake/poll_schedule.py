"""Poll schedule: which batches are due for a poll, in which order, and the interval between polls.

The interval is the batch's own, or the portal's default, which grows up to `LONGEST_PAUSE` while no files
arrive. A notification or *Look now* polls at once.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch
from batches.models.batch import BatchQuerySet
from batches.status import connection_backoff
from speechportal.platform import database_clock, queue
from speechportal.storage.errors import TimedOut

logger = logging.getLogger(__name__)

JOB = "batches.operations.jobs.poll"
MOST_CLAIMED = 1000  # at once
MOST_SECONDS = 240  # time limit of a poll; below the timeout of the queue's short cluster
HEARTBEAT_SECONDS = 2.0  # between two heartbeats of a running poll
SILENT_SECONDS = 20  # without a heartbeat, after which a poll counts as killed
LOST_SECONDS = 60  # after which an unprocessed queue message counts as lost and is sent again
QUIET_POLLS = 20  # consecutive polls without a file, after which the interval begins to grow
LONGEST_PAUSE = 300  # seconds


def pollable(now: datetime) -> BatchQuerySet:
    """Batches that may be polled: neither paused nor suspended, and no back-off of their connection."""
    blocked = connection_backoff.blocked(now).filter(connection=OuterRef("connection"))
    return Batch.unscoped.live().filter(~Exists(blocked), paused_at=None, account__suspended_at=None)


def claim_due() -> list[int]:
    """Claim the batches that are due for a poll, marking them as queued so that no poll is queued twice.

    Fair scheduling: accounts take turns, and the running polls of one account are limited, so that a slow
    storage does not delay the polls of other accounts.
    """
    now = timezone.now()
    _take_back()
    under_way = Counter(_under_way().values_list("account_id", flat=True))
    most = max(1, settings.SHORT_WORKERS // 2)
    due = pollable(now).filter(next_poll_at__lte=now, poll_queued_at=None, poll_heartbeat_at=None)
    claimed = []
    for batch_id, account_id in _in_turns(
        due.order_by("next_poll_at").values_list("pk", "account_id")[:MOST_CLAIMED]
    ):
        if under_way[account_id] < most and _queue(batch_id, now):
            under_way[account_id] += 1
            claimed.append(batch_id)
    return claimed


def wake(batch_id: int) -> bool:
    """Queue a poll of the input path, unless one is queued already."""
    if not _queue(batch_id, timezone.now()):
        return False
    queue.enqueue(JOB, batch_id)
    return True


def pause_of(batch: Batch) -> int:
    """Seconds to the next poll: doubled for every `QUIET_POLLS` consecutive polls that found nothing."""
    if batch.poll_seconds:
        return batch.poll_seconds
    usual = int(settings.POLL_SECONDS)
    factor: int = 2 ** min(batch.quiet_polls // QUIET_POLLS, 10)
    return max(usual, min(usual * factor, LONGEST_PAUSE))


def hasten(batch: Batch) -> None:
    """Make the batch due, so that the next run of the scheduler polls its input path."""
    Batch.unscoped.filter(pk=batch.pk).update(next_poll_at=timezone.now(), quiet_polls=0)


def look_now(batch: Batch) -> None:
    """Poll the input path at once. Raises ``ValidationError`` if the batch is not being polled at present."""
    if not pollable(timezone.now()).filter(pk=batch.pk).exists():
        sentence = _(
            "The input path is not looked at now: the batch is paused, or its storage does not answer."
        )
        raise ValidationError(sentence, code="not_polled")
    hasten(batch)
    wake(batch.pk)


def _under_way() -> BatchQuerySet:
    return Batch.unscoped.live().exclude(poll_queued_at=None, poll_heartbeat_at=None)


def _queue(batch_id: int, now: datetime) -> bool:
    """Mark a poll as queued, unless one is queued or running."""
    batch = Batch.unscoped.only("poll_seconds", "quiet_polls").filter(pk=batch_id).first()
    if batch is None:
        return False
    following = now + timedelta(seconds=pause_of(batch))
    waiting = Batch.unscoped.filter(pk=batch_id, poll_queued_at=None, poll_heartbeat_at=None)
    return bool(waiting.update(poll_queued_at=database_clock.after(), next_poll_at=following))


def _in_turns(due: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Round robin over accounts: one batch of each, then the second; the order within each is kept."""
    own: dict[int, list[int]] = {}
    for batch_id, account_id in due:
        own.setdefault(account_id, []).append(batch_id)
    for round_of_polls in itertools.zip_longest(*own.values()):
        yield from (
            (batch_id, account_id)
            for account_id, batch_id in zip(own, round_of_polls, strict=True)
            if batch_id is not None
        )


def _take_back() -> None:
    """Recover from killed polls, which count as faults of the connection, and from lost queue messages."""
    killed = Batch.unscoped.filter(poll_heartbeat_at__lt=database_clock.after(-SILENT_SECONDS))
    for batch in killed.select_related("connection"):
        taken = Batch.unscoped.filter(pk=batch.pk, poll_heartbeat_at=batch.poll_heartbeat_at)
        if taken.update(poll_heartbeat_at=None) and batch.connection_id is not None:
            logger.warning("batch %s: the poll was killed or did not end", batch.uid)
            connection_backoff.note(batch.connection_id, TimedOut(batch.input_path), timezone.now())
    lost = Batch.unscoped.filter(poll_queued_at__lt=database_clock.after(-LOST_SECONDS))
    lost.update(poll_queued_at=None)
