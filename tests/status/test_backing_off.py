"""A storage that is down is left alone for a while, longer each time, and keeps no worker from the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.intake import poll_schedule, polling
from batches.models import Batch, ConnectionBackoff, ExecutionResult, Task
from batches.reports import execution_results
from batches.status import connection_backoff
from batches.tasks import lifecycle, scheduling
from batches.worker import moving
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.errors import AccessDenied, Throttled, Unreachable
from tests.factories import make_account, make_batch, make_connection, make_task
from tests.workbench import Engine, drop, folder, put, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls")


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make a local folder's storage fail: no file can be read, written or listed."""

    def refuse(self: LocalStore, key: str, *_args: Any, **_kwargs: Any) -> Any:
        raise Unreachable(key)

    for method in ("download", "put", "list_level", "stat", "move"):
        monkeypatch.setattr(LocalStore, method, refuse)
    return monkeypatch


def backoff_of(batch: Batch) -> ConnectionBackoff:
    return ConnectionBackoff.unscoped.get(connection=batch.connection_id)


def later(seconds: float) -> None:
    ConnectionBackoff.unscoped.update(retry_at=timezone.now() - timedelta(seconds=1))
    Task.unscoped.update(available_at=timezone.now() - timedelta(seconds=1))


def test_one_failed_download_keeps_the_rest_of_the_connection_waiting(batch: Batch, request: Any) -> None:
    for number in range(20):
        put(batch, f"{number}.mp3")
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    request.getfixturevalue("down")
    assert work(Engine()).error_code == "unreachable"
    assert scheduling.claim_next("test") is None
    assert not scheduling.claimable().exists()
    assert Task.unscoped.filter(attempts=0, state=Task.State.WAITING).count() == 20
    other = make_task(make_batch())
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert claim.task_id == other.pk


def test_another_connection_of_the_same_account_goes_on(batch: Batch, request: Any) -> None:
    drop(batch)
    other = make_batch(batch.account, connection=make_connection(batch.account))
    request.getfixturevalue("down")
    work(Engine())
    task = make_task(other)
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert claim.task_id == task.pk


def test_after_the_pause_one_tries_for_all(batch: Batch, request: Any) -> None:
    drop(batch)
    drop(batch, "b.mp3")
    request.getfixturevalue("down")
    pauses = []
    for _ in range(8):
        work(Engine())
        pauses.append(round((backoff_of(batch).retry_at - timezone.now()).total_seconds() / 5) * 5)
        later(1)
        ConnectionBackoff.unscoped.update(seen_at=timezone.now() - timedelta(minutes=10))
        type(batch.connection).unscoped.update(updated_at=timezone.now() - timedelta(minutes=20))  # type: ignore[union-attr] # it has one
    assert pauses == [5, 15, 30, 60, 120, 300, 300, 300]
    assert scheduling.claim_next("test") is not None
    assert scheduling.claim_next("test") is None  # Until the first has come back.


def test_the_first_success_ends_it(batch: Batch, down: pytest.MonkeyPatch) -> None:
    polling.poll(batch.pk)
    assert backoff_of(batch).failures == 1
    down.undo()
    later(1)
    polling.poll(batch.pk)
    assert not ConnectionBackoff.unscoped.exists()


def test_many_workers_that_meet_the_same_outage_count_it_once(batch: Batch) -> None:
    began = timezone.now()
    assert batch.connection is not None
    counts = [connection_backoff.note(batch.connection.pk, Unreachable("a"), began) for _ in range(5)]
    assert counts == [1, 1, 1, 1, 1]
    assert connection_backoff.note(batch.connection.pk, Unreachable("a"), timezone.now()) == 2


def test_a_connection_that_was_edited_is_tried_at_once(batch: Batch, request: Any) -> None:
    drop(batch)
    request.getfixturevalue("down")
    work(Engine())
    Task.unscoped.update(available_at=timezone.now())
    assert scheduling.claim_next("test") is None
    assert batch.connection is not None
    batch.connection.save()
    assert scheduling.claim_next("test") is not None


def test_polls_moves_and_reports_wait_too(batch: Batch, request: Any) -> None:
    drop(batch)
    claim = scheduling.claim_next("test")
    assert claim is not None
    lifecycle.finish(claim)
    execution_results.collect(batch, at_least=1)
    ExecutionResult.unscoped.update(due_at=timezone.now())
    request.getfixturevalue("down")
    with pytest.raises(Unreachable):
        moving.move_input(claim.task_id)
    Task.unscoped.update(move_due_at=timezone.now())
    assert moving.due() == []
    assert execution_results.due() == []
    assert poll_schedule.claim_due() == []
    later(1)
    assert moving.due() == [claim.task_id]
    assert poll_schedule.claim_due() == [batch.pk]


def test_a_passing_fault_is_shown_only_when_it_stays(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(self: LocalStore, key: str, *_args: Any) -> Any:
        raise Throttled(key)

    monkeypatch.setattr(LocalStore, "list_level", busy)
    statuses = []
    for _ in range(3):
        polling.poll(batch.pk)
        batch.refresh_from_db()
        statuses.append(batch.status)
        later(1)
    assert statuses == ["normal", "normal", "error"]
    assert batch.cause_code == "throttled"


def test_denied_writing_is_tried_with_one_file_a_minute_and_stays_told(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        put(batch, f"{number}.mp3")
    polling.poll(batch.pk)
    polling.poll(batch.pk)

    def deny(self: LocalStore, key: str, *_args: Any, **_kwargs: Any) -> Any:
        raise AccessDenied(key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", deny)
        work(Engine())
        assert scheduling.claim_next("test") is None
        polling.poll(batch.pk)  # Listing is allowed, which mends nothing.
        batch.refresh_from_db()
        assert (batch.status, batch.cause_code) == ("error", "access_denied")
        Batch.unscoped.update(held_until=timezone.now())
        engine = Engine()
        work(engine)
        assert scheduling.claim_next("test") is None
    Batch.unscoped.update(held_until=timezone.now())
    later(1)
    assert work(Engine()).state == Task.State.COMPLETED
    batch.refresh_from_db()
    assert (batch.status, batch.held_until) == ("normal", None)
    assert scheduling.claim_next("test") is not None


def test_a_file_of_its_own_trouble_does_not_stop_the_others(batch: Batch) -> None:
    drop(batch, "gone.mp3")
    drop(batch, "there.mp3")
    (folder(batch) / "in/gone.mp3").unlink()
    engine = Engine()
    assert work(engine).error_code == "input_missing"
    assert work(engine).state == Task.State.COMPLETED
    assert not ConnectionBackoff.unscoped.exists()


def test_accounts_do_not_share_faults() -> None:
    one, two = make_batch(make_account()), make_batch(make_account())
    assert one.connection is not None
    connection_backoff.note(one.connection.pk, Unreachable("a"), timezone.now())
    assert not connection_backoff.is_blocked(two.connection_id or 0)
