"""Fair polling: polls are queued once, run once, end in time, and accounts take turns."""

from __future__ import annotations

import collections
import itertools
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django.fixtures import Settings

from batches.intake import input_path, poll_schedule, polling
from batches.models import Batch, ConnectionBackoff
from batches.operations import jobs
from speechportal.storage.backends.base import StoredFile
from speechportal.storage.errors import TimedOut
from tests.factories import make_account, make_batch

pytestmark = pytest.mark.django_db


def test_a_poll_is_not_queued_again_before_it_has_run() -> None:
    batch = make_batch()
    assert poll_schedule.claim_due() == [batch.pk]
    Batch.unscoped.update(next_poll_at=timezone.now())
    assert poll_schedule.claim_due() == []
    assert not poll_schedule.wake(batch.pk)
    polling.poll(batch.pk)
    Batch.unscoped.update(next_poll_at=timezone.now())
    assert poll_schedule.claim_due() == [batch.pk]


def test_pressing_look_now_often_queues_one_message() -> None:
    batch = make_batch()
    OrmQ.objects.all().delete()
    Batch.unscoped.update(poll_queued_at=None)
    assert [poll_schedule.wake(batch.pk) for _number in range(5)] == [True, False, False, False, False]
    assert OrmQ.objects.count() == 1


def test_a_poll_does_not_run_twice_at_once() -> None:
    batch = make_batch()
    Batch.unscoped.update(poll_heartbeat_at=timezone.now())
    assert polling.poll(batch.pk) == 0
    batch.refresh_from_db()
    assert batch.polled_at is None


def test_a_poll_that_was_killed_counts_as_a_fault_and_backs_off() -> None:
    batch = make_batch()
    long_ago = timezone.now() - timedelta(seconds=poll_schedule.SILENT_SECONDS + 1)
    Batch.unscoped.update(poll_heartbeat_at=long_ago, next_poll_at=timezone.now())
    assert poll_schedule.claim_due() == []
    fault = ConnectionBackoff.unscoped.get(connection=batch.connection)
    assert fault.code == TimedOut.code
    batch.refresh_from_db()
    assert batch.poll_heartbeat_at is None
    ConnectionBackoff.unscoped.update(retry_at=timezone.now())
    assert poll_schedule.claim_due() == [batch.pk]


@pytest.mark.django_db(transaction=True)
def test_a_running_poll_renews_its_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "HEARTBEAT_SECONDS", 0.05)
    batch = make_batch()
    seen = []

    def slow(*_arguments: object) -> Iterator[StoredFile]:
        for _look in range(2):
            time.sleep(0.5)
            seen.append(Batch.unscoped.get(pk=batch.pk).poll_heartbeat_at)
        yield from ()

    monkeypatch.setattr(polling, "walk", slow)
    polling.poll(batch.pk)
    first, second = seen
    assert first is not None
    assert second is not None
    assert first < second
    assert Batch.unscoped.get(pk=batch.pk).poll_heartbeat_at is None


def test_of_two_messages_one_polls() -> None:
    batch = make_batch()
    assert poll_schedule.claim_due() == [batch.pk]
    jobs.poll(batch.pk)
    first = Batch.unscoped.get(pk=batch.pk).polled_at
    assert first is not None
    jobs.poll(batch.pk)
    assert Batch.unscoped.get(pk=batch.pk).polled_at == first


def test_a_lost_message_is_forgotten() -> None:
    batch = make_batch()
    lost = timezone.now() - timedelta(seconds=poll_schedule.LOST_SECONDS + 1)
    Batch.unscoped.update(poll_queued_at=lost, next_poll_at=timezone.now())
    assert poll_schedule.claim_due() == [batch.pk]


def test_accounts_take_turns_and_leave_workers_to_others(settings: Settings) -> None:
    settings.SHORT_WORKERS = 4
    busy, quiet = make_account(), make_account()
    many = [make_batch(busy) for _number in range(6)]
    one = make_batch(quiet)
    Batch.unscoped.update(poll_queued_at=None, next_poll_at=timezone.now())
    claimed = poll_schedule.claim_due()
    assert one.pk in claimed[:2]
    assert len([pk for pk in claimed if pk != one.pk]) == 2
    assert poll_schedule.claim_due() == []
    for batch in many:
        polling.poll(batch.pk)
    assert len(poll_schedule.claim_due()) == 2


def test_an_endless_listing_ends() -> None:
    file = StoredFile(key="in/a.wav", size=1, version="1", modified=timezone.now())
    with pytest.raises(TimedOut):
        collections.deque(input_path.within_time(itertools.repeat(file), 0.05), maxlen=0)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
@pytest.mark.parametrize(("of_poll", "of_scheduler"), [(-3, 0), (0, 3)])
def test_the_clock_of_a_machine_ends_no_poll(
    monkeypatch: pytest.MonkeyPatch, of_poll: int, of_scheduler: int
) -> None:
    right = timezone.now

    def set_clock(hours: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=hours))

    batch = make_batch()
    set_clock(of_poll)
    running = polling.RunningPoll(batch.pk)
    assert running.start()
    set_clock(of_scheduler)
    poll_schedule.claim_due()
    batch.refresh_from_db()
    assert batch.poll_heartbeat_at is not None
    assert not ConnectionBackoff.unscoped.exists()
    running.end()
