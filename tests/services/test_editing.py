"""A batch can be edited while it runs: what has started keeps its settings, nothing is recognised twice."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, Task
from batches.services import batches as batch_services
from tests.factories import make_batch, make_connection
from tests.workbench import Engine, drop, files, folder, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    batch = make_batch(name="calls", formats=["json"])
    return batch_services.update_batch(
        batch=batch, name="calls"
    )  # As saved by a form: its folder is remembered.


def test_a_task_in_progress_keeps_the_settings_it_started_with(batch: Batch) -> None:
    engine = Engine()

    def edit() -> None:
        batch_services.update_batch(
            batch=batch,
            name="meetings",
            recognition={"language": "ja"},
            formats=["srt"],
            result_path="elsewhere/",
        )

    engine.during["transcribe"] = edit
    drop(batch)
    assert work(engine).state == Task.State.COMPLETED
    assert files(batch) == {"out/a.mp3.json", "in/calls/a.mp3"}
    assert json.loads((folder(batch) / "out/a.mp3.json").read_text())["params"]["lang"] != "ja"
    engine.during.clear()
    drop(batch, "b.mp3")
    work(engine)
    assert {"elsewhere/b.mp3.srt", "in/meetings/b.mp3"} <= files(batch)
    assert engine.languages == ["en-US", "ja"]


def test_a_rename_never_recognises_anything_again(batch: Batch) -> None:
    engine = Engine()
    drop(batch)
    work(engine)
    for name in ("meetings", "talks", "calls"):
        batch = batch_services.update_batch(batch=batch, name=name)
        drop(batch, f"{name}.mp3")
        work(engine)
        polling.poll(batch.pk)
        assert polling.poll(batch.pk) == 0
    assert Task.unscoped.count() == 4
    assert {name for name in files(batch) if name.startswith("in/")} == {
        "in/calls/a.mp3",
        "in/meetings/meetings.mp3",
        "in/talks/talks.mp3",
        "in/calls/calls.mp3",
    }


def test_waiting_tasks_of_an_earlier_path_are_still_read_from_there(batch: Batch) -> None:
    drop(batch)
    batch_services.update_batch(batch=batch, connection=make_connection(batch.account), input_path="other/")
    task = work(Engine())
    assert task.state == Task.State.COMPLETED
    assert task.connection == batch.connection


def test_a_batch_s_name_fits_a_folder() -> None:
    assert make_batch(name="통" * 85).name == "통" * 85
    with pytest.raises(ValidationError, match="too long for a folder"):
        make_batch(name="통" * 86)
