"""Two installations on one input path: what the other takes is named, and nothing goes on for ever."""

from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from batches.intake import left_alone, polling
from batches.models import Batch, Task
from batches.operations import doctor
from batches.operations.doctor import Health
from batches.status import failures
from batches.status.failures import failure_of_task
from tests.factories import make_batch
from tests.workbench import Engine, drop, files, folder, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", input_path="in/", result_path="out/")


def taken_by_the_other(batch: Batch, source: str, target: str) -> None:
    """Move a file, as another installation's worker does."""
    root = folder(batch)
    (root / target).parent.mkdir(parents=True, exist_ok=True)
    (root / source).rename(root / target)


@pytest.mark.parametrize("target", ["in/calls/a.mp3", "in/theirs/a.mp3", "in/calls/a (2).mp3"])
def test_an_input_that_another_installation_has_moved_is_named(batch: Batch, target: str) -> None:
    drop(batch)
    taken_by_the_other(batch, "in/a.mp3", target)
    before = files(batch)
    task = work(Engine())
    assert (task.state, task.error_code) == (Task.State.FAILED, failures.INPUT_TAKEN)
    failure = failure_of_task(task)
    assert failure is not None
    assert target in failure.sentence
    assert "another installation" in failure.sentence
    assert "one installation alone" in failure.advice
    assert files(batch) == before  # Nothing is written for it.
    (finding,) = [each for each in doctor.storage() if each.health is Health.BAD]
    assert finding.sentence.startswith(f"calls ({batch.uid}): something else has moved inputs")


def test_an_input_of_another_size_elsewhere_is_not_the_one_that_is_missing(batch: Batch) -> None:
    drop(batch)
    taken_by_the_other(batch, "in/a.mp3", "in/theirs/a.mp3")
    (folder(batch) / "in/theirs/a.mp3").write_bytes(b"another recording")
    assert work(Engine()).error_code == "input_missing"


def test_finished_inputs_that_the_other_has_moved_are_not_taken_again(batch: Batch) -> None:
    drop(batch)
    assert work(Engine()).state == Task.State.COMPLETED
    taken_by_the_other(batch, "in/calls/a.mp3", "in/theirs/calls/a.mp3")
    assert [polling.poll(batch.pk) for _ in range(3)] == [0, 0, 0]
    batch.refresh_from_db()
    (group,) = left_alone.groups(batch)
    assert (group.reason, group.names) == (left_alone.PROCESSED, ("in/theirs/calls/a.mp3",))


def test_a_folder_of_a_customer_with_the_name_of_the_batch_is_taken(batch: Batch) -> None:
    drop(batch)
    assert work(Engine()).state == Task.State.COMPLETED
    assert drop(batch, "2026/calls/a.mp3").name == "2026/calls/a.mp3"
    assert work(Engine()).state == Task.State.COMPLETED
