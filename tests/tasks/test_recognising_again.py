"""Recognising a completed file again creates another task, charge and result."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, Charge, Task
from batches.recognition.errors import NotMedia
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from tests.factories import make_batch
from tests.workbench import Engine, drop, files, folder, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls")


def test_the_second_result_lies_beside_the_first(batch: Batch, engine: Engine) -> None:
    drop(batch)
    first = work(engine)
    before = (folder(batch) / "out/a.mp3.json").read_bytes()
    batch_services.update_batch(batch=batch, recognition={"language": "ja"})
    repeat = task_services.recognise_again(task=first)
    assert (repeat.original, repeat.task_order, repeat.name) == (first, 2, "a.mp3")
    again = work(engine)
    assert (again.pk, again.state) == (repeat.pk, Task.State.COMPLETED)
    assert engine.languages == ["en-US", "ja"]
    assert files(batch) == {"out/a.mp3.json", "out/a.mp3 (2).json", "in/calls/a.mp3"} or files(batch) == {
        "out/a.mp3.json",
        "out/a (2).mp3.json",
        "in/calls/a.mp3",
    }
    assert (folder(batch) / "out/a.mp3.json").read_bytes() == before
    assert Charge.unscoped.count() == 2
    assert set(Charge.unscoped.values_list("task", flat=True)) == {first.pk, again.pk}
    first.refresh_from_db()
    assert first.moved_key == "in/calls/a.mp3"
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 0


def test_it_can_be_repeated_and_a_repeat_too(batch: Batch, engine: Engine) -> None:
    drop(batch)
    first = work(engine)
    task_services.recognise_again(task=first)
    second = work(engine)
    third = task_services.recognise_again(task=second)
    assert third.original == first
    assert work(engine).state == Task.State.COMPLETED
    assert Charge.unscoped.count() == 3


def test_two_at_once_are_one_too_many(batch: Batch, engine: Engine) -> None:
    drop(batch)
    first = work(engine)
    task_services.recognise_again(task=first)
    with pytest.raises(ValidationError) as refused:
        task_services.recognise_again(task=first)
    assert refused.value.code == "task_repeating"


def test_only_what_is_completed_and_still_there(batch: Batch, engine: Engine) -> None:
    waiting = drop(batch)
    with pytest.raises(ValidationError) as refused:
        task_services.recognise_again(task=waiting)
    assert refused.value.code == "task_not_completed"


def test_a_repeat_that_fails_leaves_the_input_and_the_first_result(batch: Batch, engine: Engine) -> None:
    drop(batch)
    first = work(engine)
    task_services.recognise_again(task=first)

    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    engine.during["transcribe"] = refuse
    repeat = work(engine)
    assert repeat.state == Task.State.FAILED
    assert files(batch) == {"out/a.mp3.json", "in/calls/a.mp3"}
    assert Charge.unscoped.count() == 1
    engine.during.clear()
    task_services.retry_task(task=repeat)
    assert work(engine).state == Task.State.COMPLETED
    assert "in/calls/a.mp3" in files(batch)


def test_a_moved_input_that_was_replaced_fails_the_repeat(batch: Batch, engine: Engine) -> None:
    drop(batch)
    first = work(engine)
    (folder(batch) / "in/calls/a.mp3").write_bytes(b"another recording")
    task_services.recognise_again(task=first)
    repeat = work(engine)
    assert (repeat.state, repeat.error_code) == (Task.State.FAILED, "input_replaced")
