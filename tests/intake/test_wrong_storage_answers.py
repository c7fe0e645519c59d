"""Wrong answers of a storage are verified: one alone fails no task and loses no input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, Charge, ResultFile, Task
from batches.recognition.errors import NotMedia
from batches.tasks import lifecycle
from batches.worker import moving
from speechportal.storage.backends.base import StoredFile
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.errors import Changed, NotFound, Throttled
from tests.factories import make_batch
from tests.workbench import Engine, again_at_once, drop, files, folder, put, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls")


@pytest.mark.parametrize("lie", [Changed, NotFound])
def test_one_wrong_answer_fails_no_task(
    batch: Batch, lie: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)

    def wrong(self: LocalStore, key: str, *_args: Any, **_kwargs: Any) -> Any:
        raise lie(key)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "download", wrong)
        task = work(Engine())
    assert (task.state, task.error_code) == (Task.State.WAITING, "storage_fault")
    again_at_once()
    assert work(Engine()).state == Task.State.COMPLETED


def test_a_wrong_version_while_moving_leaves_nothing_unmoved(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)
    stat, calls = LocalStore.stat, 0

    def wrong_once(self: LocalStore, key: str) -> StoredFile | None:
        nonlocal calls
        found = stat(self, key)
        if key == "in/a.mp3" and found:
            calls += 1
            return replace(found, version="another") if calls == 1 else found
        return found

    def changed(self: LocalStore, source: str, *_args: Any, **_kwargs: Any) -> Any:
        raise Changed(source)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "move", changed)
        patch.setattr(LocalStore, "stat", wrong_once)
        task = work(Engine())
    assert task.state == Task.State.COMPLETED
    assert task.move_due_at is not None
    assert "in/a.mp3" in files(batch)
    again_at_once()
    moving.move_input(task.pk)
    assert "in/calls/a.mp3" in files(batch)
    task = Task.unscoped.get()
    assert (task.notice, task.move_due_at) == ("", None)


def test_a_failed_input_has_its_reason_whatever_interrupts_the_move(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, put_file = Engine(), LocalStore.put

    def refuse() -> None:
        raise NotMedia("This is not an audio or video file.")

    def busy(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if key.endswith(".reason.txt"):
            raise Throttled(key)
        return put_file(self, key, *args, **kwargs)

    engine.during["transcribe"] = refuse
    drop(batch)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put", busy)
        task = work(engine)
    assert task.move_due_at is not None
    again_at_once()
    moving.move_input(task.pk)
    assert files(batch) == {"in/calls/failed/a.mp3", "in/calls/failed/a.mp3.reason.txt"}
    assert Task.unscoped.get().moved_at is not None


def test_an_input_replaced_while_it_was_recognised_is_noticed(batch: Batch) -> None:
    engine = Engine()

    def replace_input() -> None:
        put(batch, "a.mp3", b"another recording")

    engine.during["transcribe"] = replace_input
    drop(batch)
    task = work(engine)
    assert (task.state, task.notice, task.moved_at) == (Task.State.COMPLETED, "input_replaced", None)
    engine.during.clear()
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 1
    second = work(engine)
    assert (second.state, second.notice) == (Task.State.COMPLETED, "")
    assert second.moved_key in files(batch)
    assert (folder(batch) / second.moved_key).read_bytes() == b"another recording"
    assert ResultFile.unscoped.count() == 2
    assert len(set(ResultFile.unscoped.values_list("key", flat=True))) == 2
    assert Charge.unscoped.count() == 2


def test_an_input_removed_while_it_was_recognised_is_noticed(batch: Batch) -> None:
    engine = Engine()
    engine.during["transcribe"] = (folder(batch) / "in/a.mp3").unlink
    drop(batch)
    task = work(engine)
    assert (task.state, task.notice) == (Task.State.COMPLETED, "input_removed")
    assert files(batch) == {"out/a.mp3.json"}


def test_a_result_that_was_damaged_before_the_end_is_written_again(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch)

    def die(*_args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "finish", die)
        with pytest.raises(KeyboardInterrupt):
            work(Engine())
    path = folder(batch) / "out/a.mp3.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:10])
    Task.unscoped.update(lease_expires_at=Task.unscoped.get().created_at)
    lifecycle.reap()
    assert work(Engine()).state == Task.State.COMPLETED
    assert path.read_bytes() == whole


def test_a_stale_listing_makes_no_second_task(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(batch)
    stale = list(LocalStore.list_level(batch.connection.store(), "in/"))  # type: ignore[arg-type,union-attr] # a local folder
    work(Engine())
    monkeypatch.setattr(LocalStore, "list_level", lambda *_: iter(stale))
    for _ in range(3):
        assert polling.poll(batch.pk) == 0


LONG = "통화/" * 40 + "끝.mp3"  # As deep as polling goes.
LONGEST = "/".join(["x" * 202, "한" * 80, "y" * 255, "z" * 255]) + "/" + "가" * 20 + "a.mp3"  # 1,024 bytes
NAMES = [
    "=HYPERLINK(1).mp3",
    "+1.mp3",
    "-1.mp3",
    "@x.mp3",
    "통화 녹음.mp3",
    "통화 녹음.mp3",  # the same to the eye, decomposed
    "😀👩‍👩‍👧.mp3",
    "q\"uo'te`.mp3",
    "100%+#?&;=.mp3",
    "%2e%2e%2fa.mp3",
    "a..b../c...mp3",
    " lead and trail /x .mp3",
    "new\nline.mp3",
    "back\\slash.mp3",
    LONG,
    LONGEST,
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:30])
def test_whatever_the_name_the_file_comes_through(batch: Batch, name: str) -> None:
    task = drop(batch, name)
    assert name != LONGEST or len(task.input_key.encode()) == 1024
    task = work(Engine())
    assert (task.state, task.name) == (Task.State.COMPLETED, name)
    result = ResultFile.unscoped.get()
    assert files(batch) == {result.key, task.moved_key}
    assert task.moved_at is not None
    assert len(result.key.encode()) <= 1024
    assert len(task.moved_key.encode()) <= 1024


def test_composed_and_decomposed_names_are_two_files(batch: Batch) -> None:
    engine = Engine()
    for name in ("\u1112\u1161\u11ab.mp3", "\ud55c.mp3"):
        drop(batch, name)
        assert work(engine).state == Task.State.COMPLETED
    assert len(set(ResultFile.unscoped.values_list("key", flat=True))) == 2
    assert len([name for name in files(batch) if name.startswith("in/calls/")]) == 2
