"""Messages and schedules, on django-q2's own tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from pytest_django.fixtures import Settings

from batches.models import Task
from batches.operations import jobs
from batches.tasks import scheduling
from speechportal.platform import queue
from speechportal.platform.models import NamedLease
from tests.factories import make_batch, make_task

pytestmark = pytest.mark.django_db


def test_migrating_again_and_starting_again_leave_one_schedule() -> None:
    assert Schedule.objects.filter(name="scheduler").count() == 1
    Schedule.objects.update(minutes=99)
    call_command("migrate", verbosity=0)
    queue.install_schedules()
    schedule = Schedule.objects.get(name="scheduler")
    assert (schedule.func, schedule.minutes, schedule.cluster, schedule.repeats) == (
        queue.PERIODIC_JOB,
        1,
        "short",
        -1,
    )


def test_a_rolled_back_transaction_takes_its_message_back() -> None:
    with transaction.atomic():
        queue.enqueue("batches.operations.jobs.poll", 1)
        assert queue.queued_messages("short") == 1
        transaction.set_rollback(True)
    assert queue.queued_messages("short") == 0


def queued(function: str) -> int:
    return sum(message.func() == function for message in OrmQ.objects.all())


def test_there_are_never_more_messages_than_workers(settings: Settings) -> None:
    settings.RECOGNITION_WORKERS = 2
    for _ in range(3):
        queue.wake_recognition(1000)
    assert queue.queued_messages("recognition") == 2
    assert queue.queued_messages("short") == 0


def test_the_scheduler_repeats_a_lost_message(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SCHEDULER_SECONDS", 0)
    batch = make_batch()
    make_task(batch)
    OrmQ.objects.all().delete()
    jobs.run_scheduler()
    assert queue.queued_messages("recognition") == 1
    assert queued("batches.operations.jobs.poll") == 1


def test_a_second_scheduler_ends_at_once_while_the_first_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = NamedLease.take("scheduler", timedelta(minutes=1))
    assert holder is not None
    monkeypatch.setattr(jobs, "_reap", lambda: pytest.fail("the first scheduler runs"))
    jobs.run_scheduler()
    NamedLease.give("scheduler", holder)
    assert NamedLease.take("scheduler", timedelta(minutes=1)) is not None


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
def test_a_machine_whose_clock_is_ahead_keeps_no_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = timezone.now

    def set_clock(hours: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=hours))

    set_clock(3)
    first = NamedLease.take("scheduler", timedelta(seconds=0))
    assert first is not None
    set_clock(0)
    second = NamedLease.take("scheduler", timedelta(minutes=1))
    assert second is not None
    set_clock(3)
    assert NamedLease.take("scheduler", timedelta(minutes=1)) is None
    assert not NamedLease.keep("scheduler", first, timedelta(minutes=1))
    assert not NamedLease.is_idle("scheduler", timedelta(minutes=1))


@pytest.mark.parametrize(("minutes", "attempts"), [(0, 1), (30, 0)])
def test_after_an_outage_of_the_scheduler_too_expired_leases_count_no_attempt(
    monkeypatch: pytest.MonkeyPatch, minutes: int, attempts: int
) -> None:
    monkeypatch.setattr(jobs, "SCHEDULER_SECONDS", 0)
    task = make_task(make_batch())
    assert scheduling.claim_next("worker") is not None
    now = timezone.now()
    Task.unscoped.update(lease_expires_at=now - timedelta(seconds=1))
    NamedLease.objects.create(name="scheduler", last_run_at=now - timedelta(minutes=minutes))
    jobs.run_scheduler()
    task.refresh_from_db()
    assert (task.state, task.attempts) == (Task.State.WAITING, attempts)


def test_one_failing_step_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(jobs, "SCHEDULER_SECONDS", 0)
    monkeypatch.setattr(jobs, "_reap", fail)
    make_batch()
    jobs.run_scheduler()
    assert queued("batches.operations.jobs.poll") == 1
    assert "scheduler step fail failed" in caplog.text
