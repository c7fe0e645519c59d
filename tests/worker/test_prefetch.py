"""Prefetch: the next file is claimed and downloaded during recognition of the present one, and never lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Charge, Task
from batches.operations import jobs
from batches.tasks import lifecycle, scheduling
from batches.tasks.leases import Lease
from batches.worker import engines, prefetch, processing
from batches.worker.prefetch import Prefetcher
from batches.worker.progress import DOWNLOADED, SEPARATED, Progress
from batches.worker.workspaces import workspace_of
from speechportal.storage.errors import Unreachable
from tests.factories import make_batch
from tests.workbench import Engine, drop

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SETTLE_SECONDS = 0
    monkeypatch.setattr(prefetch, "LOOK_SECONDS", 0)
    monkeypatch.setattr(prefetch, "HEARTBEAT_SECONDS", 0.05)


@pytest.fixture
def batch() -> Batch:
    return make_batch(formats=["json"])


@pytest.fixture
def prefetcher() -> Iterator[Prefetcher]:
    fetching = Prefetcher("test", lambda: False)
    yield fetching
    fetching.close()


def waiting(batch: Batch, name: str, seconds: float = 60) -> Task:
    """A task that has waited for so long."""
    task = drop(batch, name)
    Task.unscoped.filter(pk=task.pk).update(available_at=timezone.now() - timedelta(seconds=seconds))
    return task


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def state(task: Task) -> str:
    return Task.unscoped.values_list("state", flat=True).get(pk=task.pk)


def test_the_next_input_is_there_when_its_turn_comes(
    batch: Batch, prefetcher: Prefetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = waiting(batch, "next.mp3")
    prefetcher.look()
    until(lambda: state(task) == Task.State.IN_PROGRESS)
    handed_over_at = timezone.now()
    claim = prefetcher.take()
    assert claim is not None
    assert claim.task_id == task.pk
    assert Task.unscoped.filter(pk=task.pk, started_at__gte=handed_over_at).exists()
    workspace = workspace_of(task, claim)
    assert [path.name for path in workspace.iterdir()] == ["input.mp3"]
    store = type(batch.connection.store()) if batch.connection else None
    monkeypatch.setattr(store, "download", lambda *_args, **_options: pytest.fail("it was fetched"))
    processing.process(claim, Engine(), lambda: False)  # type: ignore[arg-type] # the stand-in
    assert state(task) == Task.State.COMPLETED
    assert not workspace.exists()


def test_one_job_works_off_what_was_claimed_ahead(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        waiting(batch, f"{number}.mp3")
    engine = Engine()
    engine.during["transcribe"] = lambda: time.sleep(0.2)
    monkeypatch.setattr(engines, "worker_client", lambda: engine)
    jobs.recognise_next()
    assert set(Task.unscoped.values_list("state", "attempts")) == {("completed", 1)}
    assert Charge.unscoped.count() == 4


def test_a_task_that_has_just_come_is_left_to_an_idle_worker(batch: Batch, prefetcher: Prefetcher) -> None:
    task = waiting(batch, "new.mp3", seconds=1)
    prefetcher.look()
    assert prefetcher.take() is None
    assert state(task) == Task.State.WAITING


def test_nothing_is_fetched_ahead_of_a_long_work(batch: Batch) -> None:
    claim = scheduling.claim_next("test", timedelta(0)) or _claim(batch)
    calls: list[float] = []
    progress = Progress(claim, lambda: False, lambda: calls.append(time.monotonic()))
    progress.report(Task.Stage.RECOGNISING, DOWNLOADED)
    progress._recognising_since = time.monotonic() - 3600
    progress.report(Task.Stage.RECOGNISING, 50)
    assert calls == []
    progress.report(Task.Stage.RECOGNISING, SEPARATED - 1)
    assert len(calls) == 1


def _claim(batch: Batch) -> Lease:
    waiting(batch, "long.mp3")
    claim = scheduling.claim_next("test")
    assert claim is not None
    return claim


def test_the_lease_is_kept_and_one_is_held_at_a_time(batch: Batch, prefetcher: Prefetcher) -> None:
    first, second = waiting(batch, "1.mp3"), waiting(batch, "2.mp3")
    prefetcher.look()
    until(lambda: state(first) == Task.State.IN_PROGRESS)
    before = Task.unscoped.get(pk=first.pk).lease_expires_at
    prefetcher.look()
    assert state(second) == Task.State.WAITING
    assert before is not None
    Task.unscoped.filter(pk=first.pk).update(lease_expires_at=timezone.now() + timedelta(seconds=1))
    until(lambda: Task.unscoped.filter(pk=first.pk, lease_expires_at__gt=before).exists())


def test_what_was_not_taken_is_given_back_unharmed(batch: Batch) -> None:
    task = waiting(batch, "next.mp3")
    fetching = Prefetcher("test", lambda: False)
    fetching.look()
    until(lambda: state(task) == Task.State.IN_PROGRESS)
    fetching.close()
    task.refresh_from_db()
    assert (task.state, task.attempts, task.reserved) == (Task.State.WAITING, 0, None)


def test_what_is_held_for_too_long_is_given_back(
    batch: Batch, prefetcher: Prefetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefetch, "HOLD_SECONDS", 0)
    task = waiting(batch, "next.mp3")
    prefetcher.look()
    until(lambda: Task.unscoped.filter(pk=task.pk, state=Task.State.WAITING, attempts=0).exists())
    assert prefetcher.take() is None


def test_a_task_cancelled_meanwhile_is_not_taken(batch: Batch, prefetcher: Prefetcher) -> None:
    task = waiting(batch, "next.mp3")
    prefetcher.look()
    until(lambda: state(task) == Task.State.IN_PROGRESS)
    lifecycle.cancel(Task.unscoped.filter(pk=task.pk))
    until(lambda: state(task) == Task.State.CANCELLED)
    assert prefetcher.take() is None


def test_a_storage_fault_is_met_again_in_the_tasks_own_turn(
    batch: Batch, prefetcher: Prefetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise Unreachable

    store = type(batch.connection.store()) if batch.connection else None
    monkeypatch.setattr(store, "download", refuse)
    task = waiting(batch, "next.mp3")
    prefetcher.look()
    claim = prefetcher.take()
    assert claim is not None
    processing.process(claim, Engine(), lambda: False)  # type: ignore[arg-type] # the stand-in
    task.refresh_from_db()
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "unreachable", 0)
