"""Execution results: ten tasks a file, fewer after an idle time, each task in exactly one."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, ExecutionResult, PendingFile, ResultFile, StoredTranscript, Task
from batches.recognition.transcript import Span
from batches.reports import execution_results
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from speechportal.platform.http import neutral
from speechportal.storage.errors import StorageError
from tests.factories import claimed, make_batch, make_task
from tests.formats.samples import interview, silence

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch() -> Batch:
    return make_batch(name="calls")


def finish(batch: Batch, count: int, **fields: object) -> list[Task]:
    tasks = []
    for _ in range(count):
        task, claim = claimed(batch, **fields)
        lifecycle.finish(claim)
        tasks.append(task)
    return tasks


def become_idle(batch: Batch, seconds: int = 10_000) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(last_finished_at=timezone.now() - timedelta(seconds=seconds))


def folder(batch: Batch) -> Path:
    assert batch.connection is not None
    return Path(batch.connection.place)


def rows(batch: Batch, key: str) -> list[list[str]]:
    content = (folder(batch) / key).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")  # Spreadsheets take UTF-8 for something else without it.
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))


def test_signs_of_doubt_are_beside_the_task(batch: Batch) -> None:
    doubted, silent, failed = [*finish(batch, 2), make_task(batch, state=Task.State.FAILED)]
    transcript = interview()
    transcript.flags, transcript.segments[0].flags = ["truncated", "unrecognised_speech"], ["repetition"]
    transcript.unrecognised, transcript.missing_duration = [Span(5000, 9000)], 1200
    for task, document in ((doubted, transcript), (silent, silence()), (failed, transcript)):
        StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    become_idle(batch)
    execution_results.collect_idle()
    execution_results.write(ExecutionResult.unscoped.get().pk)
    header, *found = rows(batch, ExecutionResult.unscoped.get().key)
    names = ["confidence", "no-speech share", "mean log-probability", "flags"]
    assert [[row[header.index(name)] for name in names] for row in found] == [
        ["0.95", "0.30", "-0.25", "truncated (1.2 s); unrecognised_speech (5.0-9.0 s); repetition"],
        ["0.00", "1.00", "0.00", "no_speech"],
        ["", "", "", ""],
    ]


def test_the_columns_come_in_the_order_of_the_guide(batch: Batch) -> None:
    (task,) = finish(batch, 1, name="a.wav")
    ResultFile.unscoped.create(
        task=task,
        format="json",
        key="out/a.json",
        size=1,
        written_at=timezone.now(),
        connection=batch.connection,
    )
    Task.unscoped.filter(pk=task.pk).update(media_duration=61_500)
    become_idle(batch)
    assert execution_results.collect_idle() == 1
    result = ExecutionResult.unscoped.get()
    execution_results.write(result.pk)
    result.refresh_from_db()
    assert result.key == "out/calls-execution-result-00001.csv"
    header, row = rows(batch, result.key)
    assert header[:7] == [
        "task order",
        "input file name",
        "result file name",
        "recognition duration",
        "start time",
        "completion time",
        "execution result",
    ]
    assert row[:3] == ["1", "a.wav", "out/a.json"]
    assert float(row[3]) >= 0
    assert row[6:10] == ["Completed", "", "61.5", task.uid]


def test_ten_make_one_and_the_rest_waits_for_the_idle_time(batch: Batch, settings: Settings) -> None:
    settings.IDLE_SECONDS = 60
    finish(batch, 12)
    assert list(ExecutionResult.unscoped.values_list("number", "task_count")) == [(1, 10)]
    become_idle(batch, 59)
    assert execution_results.collect_idle() == 0
    become_idle(batch, 61)
    assert execution_results.collect_idle() == 1
    assert execution_results.collect_idle() == 0
    assert list(ExecutionResult.unscoped.order_by("pk").values_list("number", "task_count")) == [
        (1, 10),
        (2, 2),
    ]
    assert not Task.unscoped.filter(execution_result=None).exists()


@pytest.mark.parametrize("work", ["waiting task", "running task", "arriving file"])
def test_a_batch_with_work_before_it_is_not_idle(batch: Batch, work: str) -> None:
    finish(batch, 1)
    if work == "arriving file":
        now = timezone.now()
        PendingFile.unscoped.create(batch=batch, key="in/b.wav", version="1", size=1, modified_at=now)
    else:
        make_task(batch)
    if work == "running task":
        assert scheduling.claim_next("test") is not None
    become_idle(batch)
    assert execution_results.collect_idle() == 0


def test_failed_tasks_are_reported_with_their_cause_and_cancelled_ones_are_not(batch: Batch) -> None:
    _, claim = claimed(batch, name="bad.wav")
    lifecycle.fail(claim, Failure("not_media", "This is not audio.", {}))
    gone = make_task(batch)
    lifecycle.cancel(Task.unscoped.filter(pk=gone.pk))
    become_idle(batch)
    execution_results.collect_idle()
    result = ExecutionResult.unscoped.get()
    execution_results.write(result.pk)
    result.refresh_from_db()
    reported = rows(batch, result.key)[1:]
    assert [(row[1], row[6], row[7]) for row in reported] == [("bad.wav", "Failed", "This is not audio.")]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_taken_for_a_formula(batch: Batch, start: str) -> None:
    name = f'{start}HYPERLINK("http://example.com")'
    assert neutral(name) == f"'{name}"
    finish(batch, 1, name=f"{name}.wav")
    become_idle(batch)
    execution_results.collect_idle()
    reported = execution_results.render(ExecutionResult.unscoped.get()).decode("utf-8-sig")
    (_, row) = csv.reader(io.StringIO(reported, newline=""))
    assert row[1] == f"'{name}.wav"


def test_a_write_that_was_interrupted_is_completed_under_the_same_key(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(batch, 10)
    result = ExecutionResult.unscoped.get()
    store = type(batch.connection.store()) if batch.connection else None
    with monkeypatch.context() as patch:

        def refuse(*_args: object, **_options: object) -> None:
            raise StorageError

        patch.setattr(store, "put", refuse)
        with pytest.raises(StorageError):
            execution_results.write(result.pk)
    result.refresh_from_db()
    reserved = result.key
    assert reserved
    assert result.written_at is None
    assert result.due_at is not None
    assert result.due_at > timezone.now()
    execution_results.write(result.pk)
    execution_results.write(result.pk)
    result.refresh_from_db()
    assert result.key == reserved
    assert ExecutionResult.unscoped.filter(due_at=None).count() == 1
    assert len(rows(batch, reserved)) == 11
    assert [path.name for path in (folder(batch) / "out").iterdir()] == [Path(reserved).name]


def test_a_file_of_the_customer_is_not_overwritten(batch: Batch) -> None:
    own = folder(batch) / "out" / "calls-execution-result-00001.csv"
    own.write_text("mine")
    finish(batch, 10)
    execution_results.write(ExecutionResult.unscoped.get().pk)
    assert own.read_text() == "mine"
    assert (folder(batch) / "out" / "calls-execution-result-00001 (2).csv").exists()


def test_what_is_due_is_found_without_a_message(batch: Batch) -> None:
    finish(batch, 10)
    result = ExecutionResult.unscoped.get()
    assert execution_results.due() == []
    ExecutionResult.unscoped.update(due_at=timezone.now())
    assert execution_results.due() == [result.pk]
