"""Processing of one task, interrupted at every step. Only the engine is a stand-in."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, Charge, ResultFile, StoredTranscript, Task
from batches.recognition.errors import EngineDied, EngineUnavailable, ModelUnavailable, NotMedia
from batches.tasks import lifecycle, scheduling
from batches.worker import moving
from speechportal.storage.errors import AccessDenied, Unreachable
from tests.factories import make_batch
from tests.workbench import Engine, again_at_once, drop, files, folder, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", speakers=True, formats=["json", "srt"])


def test_a_file_is_recognised_written_charged_and_moved(
    batch: Batch, engine: Engine, settings: Settings
) -> None:
    drop(batch, "sub/통화 1.mp3")
    task = work(engine)
    assert (task.state, task.progress, task.media_duration) == (Task.State.COMPLETED, 100, 1000)
    assert files(batch) == {
        "out/sub/통화 1.mp3.json",
        "out/sub/통화 1.mp3.srt",
        "in/calls/sub/통화 1.mp3",
    }
    result = json.loads((folder(batch) / "out/sub/통화 1.mp3.json").read_text())
    assert (result["token"], result["text"]) == (task.uid, "Good morning")
    assert Charge.unscoped.get().task == task
    assert task.moved_at is not None
    assert not list(Path(settings.WORK_DIR).iterdir())


def test_a_bad_file_is_moved_aside_with_its_reason(batch: Batch, engine: Engine) -> None:
    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    engine.during["transcribe"] = refuse
    drop(batch)
    task = work(engine)
    assert (task.state, task.error_code) == (Task.State.FAILED, "not_media")
    assert files(batch) == {"in/calls/failed/a.mp3", "in/calls/failed/a.mp3.reason.txt"}
    reason = (folder(batch) / "in/calls/failed/a.mp3.reason.txt").read_text()
    assert "This is not an audio or video file." in reason
    assert task.uid in reason
    assert not Charge.unscoped.exists()


def test_a_failure_in_a_late_stage_keeps_the_transcript(batch: Batch, engine: Engine) -> None:
    def die() -> None:
        raise EngineDied("It ran out of memory.")

    engine.during["add_speakers"] = die
    drop(batch)
    task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "engine_died", 1)
    assert StoredTranscript.unscoped.get().stage == StoredTranscript.Stage.WORDS
    engine.during.clear()
    again_at_once()
    assert work(engine).state == Task.State.COMPLETED
    assert engine.calls == ["transcribe", "add_speakers", "add_speakers"]


def test_a_file_that_kills_the_engine_again_and_again_fails(
    batch: Batch, engine: Engine, settings: Settings
) -> None:
    def die() -> None:
        raise EngineDied("It ran out of memory.")

    settings.MAX_ATTEMPTS = 3
    engine.during["transcribe"] = die
    drop(batch)
    states = []
    for _ in range(3):
        states.append(work(engine).state)
        again_at_once()
    assert states == [Task.State.WAITING, Task.State.WAITING, Task.State.FAILED]
    assert Task.unscoped.get().error_message == "It ran out of memory."


def test_a_file_that_has_killed_an_engine_is_tried_again_alone(batch: Batch, engine: Engine) -> None:
    def die() -> None:
        raise EngineDied("It ran out of memory.")

    engine.during["transcribe"] = die
    drop(batch)
    work(engine)
    assert engine.alone == [False]
    engine.during.clear()
    again_at_once()
    assert work(engine).state == Task.State.COMPLETED
    assert engine.alone == [False, True, True]


def test_an_engine_that_does_not_run_never_fails_a_task(batch: Batch, engine: Engine) -> None:
    def not_there() -> None:
        raise EngineUnavailable("The engine process does not start.")

    engine.during["transcribe"] = not_there
    drop(batch)
    for delays in range(1, 6):
        task = work(engine)
        assert (task.state, task.attempts, task.delays) == (Task.State.WAITING, 0, delays)
        assert task.error_code == "engine_unavailable"
        again_at_once()
    engine.during.clear()
    assert work(engine).state == Task.State.COMPLETED


def test_missing_models_never_fail_a_task(batch: Batch, engine: Engine) -> None:
    def missing() -> None:
        raise ModelUnavailable("Fetch the models.")

    engine.during["transcribe"] = missing
    drop(batch)
    for delays in range(1, 8):
        task = work(engine)
        assert (task.state, task.attempts, task.delays) == (Task.State.WAITING, 0, delays)
        again_at_once()


@pytest.mark.parametrize("step", ["transcribe", "add_speakers"])
def test_an_orderly_stop_hands_the_task_back(batch: Batch, engine: Engine, step: str) -> None:
    stop = False

    def ask() -> None:
        nonlocal stop
        stop = True

    engine.during[step] = ask
    drop(batch)
    task = work(engine, lambda: stop)
    assert (task.state, task.attempts, task.error_code) == (Task.State.WAITING, 0, "")
    engine.during.clear()
    assert work(engine).state == Task.State.COMPLETED


def test_a_cancelled_task_leaves_the_input_where_it_is(batch: Batch, engine: Engine) -> None:
    task = drop(batch)

    def cancel() -> None:
        lifecycle.cancel(Task.unscoped.filter(pk=task.pk))

    engine.during["transcribe"] = cancel
    assert work(engine).state == Task.State.CANCELLED
    assert files(batch) == {"in/a.mp3"}
    assert not Charge.unscoped.exists()
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 0


def test_a_worker_that_lost_its_lease_leaves_no_trace(batch: Batch, engine: Engine) -> None:
    drop(batch)

    def lose() -> None:
        Task.unscoped.update(lease_expires_at=Task.unscoped.get().created_at)
        lifecycle.reap()
        assert scheduling.claim_next("other") is not None

    engine.during["add_speakers"] = lose
    task = work(engine)
    assert (task.state, task.worker) == (Task.State.IN_PROGRESS, "other")
    assert files(batch) == {"in/a.mp3"}


def test_a_replaced_input_fails_its_task_and_becomes_another(batch: Batch, engine: Engine) -> None:
    drop(batch)
    (folder(batch) / "in/a.mp3").write_bytes(b"another recording")
    task = work(engine)
    assert (task.state, task.error_code) == (Task.State.FAILED, "input_replaced")
    assert files(batch) == {"in/a.mp3"}
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 1
    assert work(engine).state == Task.State.COMPLETED
    assert "in/calls/a.mp3" in files(batch)


def test_an_input_that_is_gone_fails_its_task(batch: Batch, engine: Engine) -> None:
    drop(batch)
    (folder(batch) / "in/a.mp3").unlink()
    task = work(engine)
    assert (task.state, task.error_code) == (Task.State.FAILED, "input_missing")


def test_the_same_name_again_overwrites_nothing(batch: Batch, engine: Engine) -> None:
    for content in (b"first", b"second", b"third"):
        drop(batch, content=content)
        work(engine)
    root = folder(batch)
    assert files(batch) >= {"out/a.mp3.json", "out/a (2).mp3.json", "out/a (3).mp3.json"}
    assert [(root / f"in/calls/a{n}.mp3").read_bytes() for n in ("", " (2)", " (3)")] == [
        b"first",
        b"second",
        b"third",
    ]


def test_a_file_of_the_customer_in_the_result_path_is_not_overwritten(batch: Batch, engine: Engine) -> None:
    (folder(batch) / "out/a.mp3.json").write_text("mine")
    drop(batch)
    work(engine)
    assert (folder(batch) / "out/a.mp3.json").read_text() == "mine"
    assert ResultFile.unscoped.get(format="json").key == "out/a (2).mp3.json"


def test_a_storage_fault_while_writing_loses_nothing(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechportal.storage.backends.local import LocalStore

    put = LocalStore.put

    def refuse(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.endswith(".srt"):
            raise Unreachable(key)
        return put(self, key, *args, **kwargs)

    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", refuse)
        task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "unreachable", 0)
    again_at_once()
    assert work(engine).state == Task.State.COMPLETED
    assert engine.calls == ["transcribe", "add_speakers"]
    assert {"out/a.mp3.json", "out/a.mp3.srt"} <= files(batch)


def test_denied_access_turns_the_batch_to_error_and_the_task_waits(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from speechportal.storage.backends.local import LocalStore

    def deny(self: LocalStore, key: str, *_args: Any, **_kwargs: Any) -> Any:
        raise AccessDenied(key)

    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", deny)
        task = work(engine)
    assert task.state == Task.State.WAITING
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "access_denied")


def test_a_full_disk_of_the_portal_is_no_fault_of_the_file(batch: Batch, engine: Engine) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    engine.during["transcribe"] = full
    drop(batch)
    task = work(engine)
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "work_disk_full", 0)


def test_an_unexpected_error_is_tried_again_and_then_told(
    batch: Batch, engine: Engine, settings: Settings
) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("secret detail")

    settings.MAX_ATTEMPTS = 2
    engine.during["transcribe"] = break_down
    drop(batch)
    assert work(engine).state == Task.State.WAITING
    again_at_once()
    task = work(engine)
    assert (task.state, task.error_code) == (Task.State.FAILED, "internal_error")
    assert "secret detail" not in task.error_message


def test_a_move_that_was_interrupted_is_completed(
    batch: Batch, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(moving, "move_input", lambda _task_id: None)  # As if killed after the commit.
        task = work(engine)
    assert (task.state, task.moved_at) == (Task.State.COMPLETED, None)
    # Copied, and killed before the original was deleted and the row written.
    Task.unscoped.filter(pk=task.pk).update(moved_key="in/calls/a.mp3")
    (folder(batch) / "in/calls").mkdir()
    shutil.copy2(folder(batch) / "in/a.mp3", folder(batch) / "in/calls/a.mp3")
    assert moving.due() == [task.pk]
    moving.move_input(task.pk)
    assert files(batch) & {"in/a.mp3", "in/calls/a.mp3"} == {"in/calls/a.mp3"}
    assert moving.due() == []
    task.refresh_from_db()
    assert task.moved_at is not None


def test_a_failed_task_can_be_retried_from_where_it_lies(batch: Batch, engine: Engine) -> None:
    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    engine.during["transcribe"] = refuse
    drop(batch)
    task = work(engine)
    engine.during.clear()
    assert lifecycle.retry(Task.unscoped.filter(pk=task.pk)) == 1
    assert work(engine).state == Task.State.COMPLETED
    assert "in/calls/a.mp3" in files(batch)
    assert "in/calls/failed/a.mp3" not in files(batch)


@pytest.mark.parametrize("name", [f"{'x' * 251}.mp3", f"{'한' * 83}a.mp3", f"{'x' * 243}.mp3"])
def test_names_as_long_as_a_file_system_allows(batch: Batch, engine: Engine, name: str) -> None:
    drop(batch, name)
    assert work(engine).state == Task.State.COMPLETED
    assert f"in/calls/{name}" in files(batch)
    results = [path for path in files(batch) if path.startswith("out/")]
    assert sorted(PurePosixPath(path).suffix for path in results) == [".json", ".srt"]

    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    engine.during["transcribe"] = refuse
    drop(batch, name, b"text")
    task = work(engine)
    assert task.moved_at is not None
    assert {task.moved_key, f"{task.moved_key}.reason.txt"} <= files(batch)
