"""Retry policy: the times at which a message is sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.webhooks import retry_policy

NOW = datetime(2026, 11, 23, 7, tzinfo=UTC)
PLAN = [
    "0:00:05",
    "0:05:00",
    "0:30:00",
    "2:00:00",
    "5:00:00",
    "10:00:00",
    "14:00:00",
    "20:00:00",
    "1 day, 0:00:00",
]


def test_ten_attempts_over_three_days() -> None:
    delays = [retry_policy.delay(tries, draw=lambda: 0) for tries in range(1, 11)]
    assert [str(delay) for delay in delays] == [*PLAN, "None"]


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True))
def test_jitter_adds_a_tenth_at_most(tries: int, drawn: float) -> None:
    delay = retry_policy.delay(tries, draw=lambda: drawn)
    assert delay is not None
    assert retry_policy.DELAYS[tries - 1] <= delay <= retry_policy.DELAYS[tries - 1] * 1.1


def test_retry_after_gives_more_time_never_less_and_a_day_at_most() -> None:
    def delay(**asked: int) -> timedelta | None:
        return retry_policy.delay(2, timedelta(**asked), draw=lambda: 0)

    assert delay(seconds=1) == timedelta(minutes=5)
    assert delay(hours=3) == timedelta(hours=3)
    assert delay(days=400) == timedelta(days=1)
    assert retry_policy.delay(10, timedelta(seconds=1)) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("0000000060", 60),
        ("99999999999999999999", 86400),
        ("Mon, 23 Nov 2026 07:01:00 GMT", 60),
        ("Mon, 23 Nov 2026 06:00:00 GMT", 0),
        ("Monday, 23-Nov-26 07:01:00 GMT", 60),
        ("Mon, 23 Nov 9999 07:01:00 GMT", 86400),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert retry_policy.retry_after(value, NOW) == expected


@given(st.text())
def test_no_retry_after_is_an_error(value: str) -> None:
    asked = retry_policy.retry_after(value, NOW)
    assert asked is None or timedelta(0) <= asked <= timedelta(days=1)


def test_a_failure_after_a_long_silence_begins_a_new_streak() -> None:
    since, last = NOW - timedelta(days=6), NOW - timedelta(hours=26)
    assert retry_policy.failing_since(since, last, NOW) == since
    assert retry_policy.failing_since(since, NOW - timedelta(days=3), NOW) == NOW
    assert retry_policy.failing_since(None, None, NOW) == NOW
    assert retry_policy.is_dead(NOW - timedelta(days=5), NOW)
    assert not retry_policy.is_dead(NOW - timedelta(days=4, hours=23), NOW)
