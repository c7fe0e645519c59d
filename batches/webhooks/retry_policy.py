"""Retry policy: when a message is sent again. Pure arithmetic, without a clock or a database.

The delays are those that Standard Webhooks recommends, three days in all. Jitter spreads the retries of
messages that failed together.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
ATTEMPTS = len(DELAYS) + 1
JITTER = 0.1  # The delay is up to a tenth longer, never shorter.
LONGEST_RETRY_AFTER = timedelta(hours=24)

# A webhook that has failed without a success for so long is paused …
PAUSE_AFTER = timedelta(days=5)
# … but only if it was tried throughout: longer than the longest delay of the schedule.
LONGEST_SILENCE = timedelta(hours=48)


def delay(
    tries: int, retry_after: timedelta | None = None, draw: Callable[[], float] = random.random
) -> timedelta | None:
    """Delay after the ``tries``-th attempt (from 1) has failed; ``None`` if that was the last.

    A receiver's Retry-After can lengthen the delay, not shorten it. ``draw`` returns 0 <= number < 1.
    """
    if tries >= ATTEMPTS:
        return None
    wanted = DELAYS[max(tries, 1) - 1]
    if retry_after is not None:
        wanted = max(wanted, min(retry_after, LONGEST_RETRY_AFTER))
    return wanted * (1 + JITTER * draw())


def retry_after(value: str, now: datetime) -> timedelta | None:
    """Parse a Retry-After header: seconds, or a date (RFC 9110, 10.2.3). ``None`` for anything else.

    At most a day; zero for a date in the past.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Cut to nine digits, which is more than a day anyway: larger numbers overflow a timedelta.
        return min(timedelta(seconds=int(text.lstrip("0")[:9] or 0)), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(min(moment - now, LONGEST_RETRY_AFTER), timedelta(0))


def failing_since(since: datetime | None, last_failed_at: datetime | None, now: datetime) -> datetime:
    """Start of a webhook's current series of failures, given that it fails now."""
    if since is None or last_failed_at is None or now - last_failed_at > LONGEST_SILENCE:
        return now
    return since


def is_dead(failing_since: datetime, now: datetime) -> bool:
    return now - failing_since >= PAUSE_AFTER
