"""Deleting a batch stops it: nothing is charged that was not delivered, the customer's files stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, Charge, ResultFile, Task
from batches.services import batches as batch_services
from batches.tasks import lifecycle, scheduling
from batches.worker import moving
from domains.services import delete_domain
from speechportal.storage.backends.local import LocalStore
from tests.factories import claimed, make_batch, make_task
from tests.workbench import Engine, drop, files, put, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", speakers=True, formats=["json", "srt"])


@pytest.mark.parametrize("step", ["transcribe", "add_speakers"])
def test_work_in_progress_is_cancelled_and_costs_nothing(batch: Batch, step: str) -> None:
    engine = Engine()
    engine.during[step] = lambda: batch_services.delete_batch(batch=batch)
    drop(batch)
    put(batch, "b.mp3")
    batch.refresh_from_db()
    waiting = make_task(batch)
    task = work(engine)
    waiting.refresh_from_db()
    assert (task.state, waiting.state) == (Task.State.CANCELLED, Task.State.CANCELLED)
    assert files(batch) == {"in/a.mp3", "in/b.mp3"}
    assert not Charge.unscoped.exists()
    assert scheduling.claim_next("test") is None
    assert polling.poll(batch.pk) == 0


def deleting_at(key_ending: str, batch: Batch) -> Callable[..., Any]:
    """A ``put`` after which the batch is deleted, once the file with this ending is written."""
    put_ = LocalStore.put

    def put_and_delete(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        stored = put_(self, key, *args, **kwargs)
        if key.endswith(key_ending):
            batch_services.delete_batch(batch=batch)
        return stored

    return put_and_delete


@pytest.mark.parametrize("ending", [".json", ".srt"])
def test_results_that_were_written_but_not_delivered_are_taken_back(
    batch: Batch, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", deleting_at(ending, batch))
        task = work(Engine())
    assert task.state == Task.State.CANCELLED
    assert files(batch) == {"in/a.mp3"}
    assert not ResultFile.unscoped.exists()
    assert not Charge.unscoped.exists()


def test_a_result_whose_writer_died_is_taken_back_and_a_customers_file_is_not(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)

    def die(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            work(Engine())
    # Written, but not noted; and the other one has been overwritten by its owner since.
    ResultFile.unscoped.filter(format="json").update(written_at=None, size=None, version="")
    json, srt = (ResultFile.unscoped.get(format=name).key for name in ("json", "srt"))
    assert batch.connection is not None
    batch.connection.store().put(srt, b"mine")
    batch_services.delete_batch(batch=batch)
    task = Task.unscoped.get()
    Task.unscoped.update(lease_expires_at=task.created_at)
    assert lifecycle.reap() == 1
    for task_id in moving.due():
        moving.move_input(task_id)
    root = {name for name in files(batch) if not name.startswith("in/")}
    assert root == {srt}
    assert json not in root
    assert not Task.unscoped.exclude(move_due_at=None).exists()


def test_a_finished_task_is_moved_and_paid_although_the_batch_is_gone(batch: Batch) -> None:
    drop(batch)
    claim = scheduling.claim_next("test")
    assert claim is not None
    lifecycle.finish(claim)
    batch_services.delete_batch(batch=batch)
    moving.move_input(claim.task_id)
    assert "in/calls/a.mp3" in files(batch)
    assert Charge.unscoped.count() == 1


def test_a_domain_in_use_cannot_be_deleted_and_can_once_its_batch_is(batch: Batch) -> None:
    domain = batch.domain
    assert domain is not None
    with pytest.raises(ValidationError) as refused:
        delete_domain(domain=domain)
    assert refused.value.code == "domain_in_use"
    batch_services.delete_batch(batch=batch)
    domain.refresh_from_db()
    delete_domain(domain=domain)


def test_nothing_is_left_waiting_whatever_the_tasks_do_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker releases its task between the two halves of the cancellation."""
    batch = make_batch()
    task, _ = claimed(batch)
    cancel_waiting = lifecycle._cancel_waiting

    def release_after(tasks: Any) -> int:
        done = cancel_waiting(tasks)
        # As a worker on PostgreSQL that released its task after the first half had passed it by.
        Task.unscoped.filter(pk=task.pk, state=Task.State.CANCELLING).update(
            state=Task.State.WAITING, lease_token=None, lease_expires_at=None, reserved=None
        )
        monkeypatch.setattr(lifecycle, "_cancel_waiting", cancel_waiting)
        return done

    monkeypatch.setattr(lifecycle, "_cancel_waiting", release_after)
    batch_services.delete_batch(batch=batch)
    task.refresh_from_db()
    assert task.state == Task.State.CANCELLED
