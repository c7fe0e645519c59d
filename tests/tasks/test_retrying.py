"""Retries: a failed or cancelled task runs again without a second charge or repeated work."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Charge, ExecutionResult, StoredTranscript, Task
from batches.recognition.errors import EngineDied, NotMedia
from batches.reports import execution_results
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.tasks import scheduling
from batches.worker import moving
from tests.factories import make_batch, make_task
from tests.workbench import Engine, drop, files, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", speakers=True, formats=["json", "srt"])


def refuse() -> None:
    raise NotMedia("This is not an audio or video file.")


def code_of(call: object, **kwargs: object) -> str | None:
    with pytest.raises(ValidationError) as refused:
        call(**kwargs)  # type: ignore[operator] # a service
    return refused.value.code


def test_all_failed_tasks_run_again_and_each_is_charged_once(batch: Batch, engine: Engine) -> None:
    engine.during["transcribe"] = refuse
    for number in range(3):
        drop(batch, f"{number}.mp3")
        work(engine)
    engine.during.clear()
    drop(batch, "good.mp3")
    work(engine)
    assert task_services.retry_failed(batch=batch) == 3
    for _ in range(3):
        assert work(engine).state == Task.State.COMPLETED
    assert Charge.unscoped.count() == 4
    assert task_services.retry_failed(batch=batch) == 0
    moved = {name for name in files(batch) if name.startswith("in/")}
    assert moved >= {f"in/calls/{name}.mp3" for name in ("0", "1", "2", "good")}
    assert not any(name.endswith("failed/0.mp3") for name in moved)


def test_a_cancelled_task_can_be_retried(batch: Batch, engine: Engine) -> None:
    task = drop(batch)
    task_services.cancel_task(task=task)
    assert task_services.retry_task(task=task).state == Task.State.WAITING
    assert work(engine).state == Task.State.COMPLETED


def test_one_that_has_not_failed_is_refused(batch: Batch, engine: Engine) -> None:
    task = drop(batch)
    assert code_of(task_services.retry_task, task=task) == "task_not_retryable"
    task = work(engine)
    assert code_of(task_services.retry_task, task=task) == "task_not_retryable"
    assert code_of(task_services.cancel_task, task=task) == "task_ended"


def test_a_retry_waits_for_the_move_that_is_under_way(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.during["transcribe"] = refuse
    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "move_input", lambda _task_id: None)
        task = work(engine)
    assert code_of(task_services.retry_task, task=task) == "task_moving"
    moving.move_input(task.pk)
    assert task_services.retry_task(task=task).input_key == "in/calls/failed/a.mp3"


def test_a_retry_waits_for_the_report_of_the_failure(batch: Batch) -> None:
    task = make_task(batch, state=Task.State.FAILED)
    result = execution_results.collect(batch, at_least=1)
    assert result is not None
    assert code_of(task_services.retry_task, task=task) == "task_being_reported"
    ExecutionResult.unscoped.update(written_at=timezone.now())
    assert task_services.retry_task(task=task).state == Task.State.WAITING


def test_a_deleted_batch_retries_nothing(batch: Batch) -> None:
    task = make_task(batch, state=Task.State.FAILED)
    batch_services.delete_batch(batch=batch)
    assert code_of(task_services.retry_task, task=task) == "batch_deleted"


def test_what_was_recognised_is_kept_unless_the_settings_have_changed(
    batch: Batch, engine: Engine, settings: Settings
) -> None:
    settings.MAX_ATTEMPTS = 1

    def die() -> None:
        raise EngineDied("It ran out of memory.")

    engine.during["add_speakers"] = die
    drop(batch)
    task = work(engine)
    assert task.state == Task.State.FAILED
    task_services.retry_task(task=task)
    task = work(engine)
    assert engine.calls == ["transcribe", "add_speakers", "add_speakers"]

    batch_services.update_batch(batch=batch, recognition={"language": "ja"})
    engine.during.clear()
    task_services.retry_task(task=task)
    assert not StoredTranscript.unscoped.exists()
    assert work(engine).state == Task.State.COMPLETED
    assert engine.languages == ["en-US", "ja"]


def test_waiting_tasks_are_cancelled_together(batch: Batch, engine: Engine) -> None:
    tasks = [drop(batch, f"{number}.mp3") for number in range(3)]
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert task_services.cancel_waiting(batch=batch) == 2
    states = list(Task.unscoped.order_by("pk").values_list("state", flat=True))
    assert states == [Task.State.IN_PROGRESS, Task.State.CANCELLED, Task.State.CANCELLED]
    assert {f"in/{task.name}" for task in tasks} <= files(batch)
