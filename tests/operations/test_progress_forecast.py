"""Progress forecast: minutes done, place in the queue, and time left."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batches.models import Batch
from batches.operations import progress_forecast
from tests.factories import make_account, make_batch, make_domain, make_task

pytestmark = pytest.mark.django_db
MINUTE = 60_000


def finished(batch: Batch, minutes: int, size: int, ago: int, took: int) -> None:
    """``minutes`` of media of ``size`` bytes, finished ``ago`` seconds ago after ``took`` seconds."""
    end = timezone.now() - timedelta(seconds=ago)
    make_task(
        batch,
        state="completed",
        media_duration=minutes * MINUTE,
        input_size=size,
        started_at=end - timedelta(seconds=took),
        finished_at=end,
    )


def test_minutes_that_wait_are_estimated_from_their_size() -> None:
    batch = make_batch()
    finished(batch, minutes=10, size=1000, ago=60, took=60)
    make_task(batch, input_size=2000)
    found = progress_forecast.forecasts_for(batch.account, [batch])[batch.pk]
    assert (found.done_ms, found.found_ms, found.is_estimate) == (10 * MINUTE, 30 * MINUTE, True)


def test_the_time_left_follows_the_pace_of_the_last_hour() -> None:
    batch = make_batch()
    for number in range(3):
        finished(batch, minutes=10, size=1000, ago=100 * number, took=100)
    make_task(batch, input_size=6000)
    left = progress_forecast.forecasts_for(batch.account, [batch])[batch.pk].seconds_left
    assert left is not None
    assert abs(left - 600) <= 2


def test_no_time_is_told_from_too_little() -> None:
    batch = make_batch()
    finished(batch, minutes=10, size=1000, ago=60, took=60)
    make_task(batch)
    assert progress_forecast.forecasts_for(batch.account, [batch])[batch.pk].seconds_left is None


def test_the_place_counts_what_is_claimed_first() -> None:
    account = make_account()
    first, second, urgent = (make_batch(account) for _ in range(3))
    Batch.unscoped.filter(pk=urgent.pk).update(priority=1)
    make_task(first)
    make_task(second)
    make_task(urgent)
    make_task(make_batch())  # Another account's.
    for batch in (first, second, urgent):
        batch.refresh_from_db()
    found = progress_forecast.forecasts_for(account, [first, second, urgent])
    assert [found[batch.pk].place for batch in (urgent, first, second)] == [1, 2, 3]


def test_a_paused_batch_has_no_place_and_takes_none() -> None:
    account = make_account()
    paused, other = make_batch(account), make_batch(account, domain=make_domain(account))
    make_task(paused)
    make_task(other)
    Batch.unscoped.filter(pk=paused.pk).update(paused_at=timezone.now())
    paused.refresh_from_db()
    found = progress_forecast.forecasts_for(account, [paused, other])
    assert (found[paused.pk].place, found[other.pk].place) == (None, 1)


def test_a_list_costs_the_same_however_many_tasks_there_are(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    account = make_account()
    batches = [make_batch(account) for _ in range(3)]
    for batch in batches:
        for _ in range(5):
            make_task(batch)
        batch.refresh_from_db()
    with django_assert_num_queries(1 + len(batches)):
        progress_forecast.forecasts_for(account, batches)
