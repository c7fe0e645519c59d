"""Polling: files in the input path become tasks, on a real folder."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from batches.intake import input_path, left_alone, poll_schedule, polling
from batches.models import Batch, PendingFile, ProcessedFolder, Task
from batches.tasks import scheduling
from tests.clients import Client
from tests.factories import make_account, make_batch, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def settle_at_once(settings: Settings) -> None:
    settings.SETTLE_SECONDS = 0


@pytest.fixture
def batch() -> Batch:
    return make_batch(name="calls")


def input_folder(batch: Batch) -> Path:
    assert batch.connection is not None
    return Path(batch.connection.place) / batch.input_path


def drop(batch: Batch, name: str, content: bytes = b"sound") -> Path:
    path = input_folder(batch) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(batch: Batch) -> list[str]:
    return list(Task.unscoped.filter(batch=batch).order_by("task_order").values_list("name", flat=True))


def test_a_file_becomes_a_task_when_two_polls_have_seen_it_unchanged(batch: Batch) -> None:
    drop(batch, "a.mp3")
    assert polling.poll(batch.pk) == 0
    assert PendingFile.unscoped.count() == 1
    assert polling.poll(batch.pk) == 1
    task = Task.unscoped.get()
    assert (task.name, task.input_key, task.task_order, task.input_size) == ("a.mp3", "in/a.mp3", 1, 5)
    assert task.state == Task.State.WAITING
    assert not PendingFile.unscoped.exists()
    assert polling.poll(batch.pk) == 0
    assert Task.unscoped.count() == 1


def test_a_file_that_still_grows_is_left_alone(batch: Batch) -> None:
    path = drop(batch, "a.mp3", b"")
    for _ in range(3):
        with path.open("ab") as file:
            file.write(b"more")
        assert polling.poll(batch.pk) == 0
    assert polling.poll(batch.pk) == 1


def test_a_young_file_is_left_alone(batch: Batch, settings: Settings) -> None:
    settings.SETTLE_SECONDS = 60
    path = drop(batch, "a.mp3")
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 0
    long_ago = time.time() - 100
    os.utime(path, (long_ago, long_ago))
    assert polling.poll(batch.pk) == 0  # Another version.
    assert polling.poll(batch.pk) == 1


def test_a_file_that_goes_away_again_is_forgotten(batch: Batch) -> None:
    path = drop(batch, "a.mp3")
    polling.poll(batch.pk)
    path.unlink()
    polling.poll(batch.pk)
    assert not PendingFile.unscoped.exists()
    assert not Task.unscoped.exists()


def test_only_media_is_taken_from_every_level(batch: Batch) -> None:
    for name in ("b.WAV", "notes.txt", "deep/er/c.mkv", "a/d.opus", "notes", ".hidden/e.mp3"):
        drop(batch, name)
    (drop(batch, "no ending")).write_bytes(b"OggS" + bytes(60))
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert set(names(batch)) == {"b.WAV", "deep/er/c.mkv", "a/d.opus", "no ending"}


def test_hostile_names_come_through_as_they_are(batch: Batch) -> None:
    hostile = ["=1+1.mp3", "통화 😀.mp3", "q\"uo'te.mp3", "100%+#?&.mp3", " lead.mp3", "-rf.mp3"]
    hostile += ["e\u0301.mp3", "é.mp3"]  # The same to the eye, decomposed and composed.
    for name in hostile:
        drop(batch, name)
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert sorted(names(batch)) == sorted(hostile)


def test_finished_inputs_are_not_looked_at_again(batch: Batch) -> None:
    drop(batch, "calls/done.mp3")
    drop(batch, "calls/failed/bad.mp3")
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert names(batch) == []


def test_a_renamed_batch_does_not_recognise_its_old_folder(batch: Batch) -> None:
    assert batch.connection is not None
    ProcessedFolder.unscoped.create(connection=batch.connection, path=batch.folder)
    drop(batch, "calls/done.mp3")
    Batch.unscoped.filter(pk=batch.pk).update(name="new name")
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert names(batch) == []


def test_a_result_path_inside_the_input_path_is_not_looked_at(batch: Batch) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(result_path="in/results/")
    drop(batch, "results/old.mp3")
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert names(batch) == []


def test_a_new_version_under_the_old_name_is_a_new_task(batch: Batch) -> None:
    path = drop(batch, "a.mp3")
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    path.unlink()
    drop(batch, "a.mp3")  # The same bytes again.
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert names(batch) == ["a.mp3", "a.mp3"]
    assert len(set(Task.unscoped.values_list("input_version", flat=True))) == 2


def test_a_missing_folder_turns_the_batch_to_error_and_back(batch: Batch) -> None:
    shutil.rmtree(input_folder(batch))
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "folder_missing")
    assert "Create it" in batch.cause
    drop(batch, "a.mp3")
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.cause) == (Batch.Status.NORMAL, "")


def test_a_deleted_batch_is_not_polled(batch: Batch) -> None:
    drop(batch, "a.mp3")
    Batch.unscoped.filter(pk=batch.pk).update(deleted_at=batch.created_at, domain=None, connection=None)
    assert polling.poll(batch.pk) == 0
    assert poll_schedule.claim_due() == []


def test_a_due_poll_is_claimed_once(batch: Batch) -> None:
    assert poll_schedule.claim_due() == [batch.pk]
    assert poll_schedule.claim_due() == []


def test_more_files_than_a_chunk(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "CHUNK", 10)
    for number in range(35):
        drop(batch, f"{number:03}.mp3")
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 35
    tasks = Task.unscoped.order_by("task_order")
    assert list(tasks.values_list("task_order", flat=True)) == list(range(1, 36))
    assert [claim.task_id for claim in iter(lambda: scheduling.claim_next("test"), None)] == [
        task.pk for task in tasks.order_by("pk")
    ]


def test_a_poll_asks_the_database_little(batch: Batch, django_assert_max_num_queries) -> None:  # type: ignore[no-untyped-def] # pytest-django's protocol
    for number in range(50):
        drop(batch, f"{number:03}.mp3")
    polling.poll(batch.pk)
    with django_assert_max_num_queries(24):
        assert polling.poll(batch.pk) == 50


def test_names_that_cannot_be_taken_are_said_until_they_are_gone(client: Client) -> None:
    owner = make_user()
    client.force_login(owner)
    batch = make_batch(make_account(owner=owner), name="calls")
    drop(batch, "good.wav")
    for number in range(7):
        drop(batch, os.fsdecode(b"\xff%d.wav" % number))
    drop(batch, os.fsdecode(b"\xff.txt"))  # Nobody waits for that.
    drop(batch, "notes.txt")
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 1)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    names, endings = left_alone.groups(batch)
    assert (names.reason, names.count) == ("name", 7)
    assert names.names == tuple(f"in/\\udcff{number}.wav" for number in range(5))
    assert (endings.reason, endings.count) == ("ending", 1)

    page = client.get(f"/batches/{batch.uid}/").content.decode()
    assert "Names that cannot be used: 7." in page
    assert f"<code>{names.names[4]}</code>" in page

    for path in input_folder(batch).iterdir():
        if path.is_file():
            path.unlink()
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert batch.left_alone == []
    assert "left-alone" not in client.get(f"/batches/{batch.uid}/").content.decode()


def test_folders_that_lie_too_deep_are_said(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_path, "MAX_DEPTH", 2)
    drop(batch, "1/2/3/deep.wav")
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert batch.left_alone == [{"reason": "name", "count": 1, "names": ["in/1/2/"]}]
