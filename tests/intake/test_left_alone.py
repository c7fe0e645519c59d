"""Skipped files are listed with a reason, unusual recordings are accepted, one bad file stops nothing."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from batches.intake import left_alone, poll_schedule, polling, uploads
from batches.models import Batch, PendingFile, Task
from batches.tasks import scheduling
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.errors import AccessDenied, ObjectArchived, ObjectError, ObjectLocked
from tests.clients import Client
from tests.factories import make_account, make_batch, make_user
from tests.workbench import Engine, drop, files, folder, put, work

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Any) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(make_account(owner=make_user()), name="calls")


def polled(batch: Batch) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Files that two polls skip, by reason."""
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    batch.refresh_from_db()
    return {group.reason: (group.count, group.names) for group in left_alone.groups(batch)}


HOUSEKEEPING = [
    *(".Trash-1000/a.wav", "#recycle/a.wav", "$RECYCLE.BIN/a.wav", ".stversions/a.wav", ".snapshot/a.wav"),
    *("__MACOSX/._a.wav", "._call.wav", "~$x.wav", ".hidden.wav", "lost+found/a.wav", "@eaDir/a.wav"),
]


@pytest.mark.parametrize("name", HOUSEKEEPING)
def test_housekeeping_is_left_alone_and_named(batch: Batch, name: str) -> None:
    put(batch, name)
    put(batch, "good.wav")
    found = polled(batch)
    assert Task.unscoped.get().name == "good.wav"
    first = name.split("/")[0]
    assert found == {"housekeeping": (1, (f"in/{first}/" if "/" in name else f"in/{first}",))}
    with pytest.raises(ValidationError):
        uploads.checked_key(batch, name)


@pytest.mark.parametrize(
    "ending",
    [
        *(".MTS", ".m2t", ".mka", ".3g2", ".asf", ".ogv", ".f4v", ".vob", ".w64", ".au", ".eac3", ".weba"),
    ],
)
def test_rare_endings_are_taken(batch: Batch, ending: str) -> None:
    put(batch, f"call{ending}")
    assert polled(batch) == {}
    assert Task.unscoped.get().name == f"call{ending}"


def test_other_endings_are_named_on_the_page_and_in_the_api(batch: Batch) -> None:
    put(batch, "notes.txt")
    put(batch, "sub/list.csv")
    assert polled(batch) == {"ending": (2, ("in/notes.txt", "in/sub/list.csv"))}
    client = Client()
    client.force_login(batch.account.members.get())
    page = client.get(f"/batches/{batch.uid}/").content.decode()
    assert "Endings that are not those of media files: 2." in page
    assert "<code>in/sub/list.csv</code>" in page


def refusing(monkeypatch: pytest.MonkeyPatch, method: str, part: str, error: Any) -> None:
    """Let one operation of the storage fail for keys that contain ``part``."""
    usual = getattr(LocalStore, method)

    def refuse(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if part in key:
            raise error(key)
        return usual(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, method, refuse)


def test_a_folder_that_cannot_be_read_stops_nothing(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    put(batch, "secret/a.wav")
    put(batch, "open/b.wav")
    refusing(monkeypatch, "list_level", "secret", AccessDenied)
    assert polled(batch) == {"unreadable": (1, ("in/secret/",))}
    assert Task.unscoped.get().name == "open/b.wav"
    assert batch.status == Batch.Status.NORMAL


def test_an_input_path_that_cannot_be_read_is_the_batchs_fault(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(batch, "a.wav")
    refusing(monkeypatch, "list_level", "in/", AccessDenied)
    polling.poll(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "access_denied")


@pytest.mark.parametrize(
    ("error", "code"),
    [(AccessDenied, ObjectError.code), (ObjectArchived, ObjectArchived.code)],
)
def test_a_file_that_cannot_be_read_fails_alone(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, error: Any, code: str
) -> None:
    drop(batch, "locked.mp3")
    refusing(monkeypatch, "download", "locked", error)
    refusing(monkeypatch, "move", "locked", error)
    failed = work(Engine())
    assert (failed.state, failed.error_code) == ("failed", code)
    assert failed.move_due_at is None
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    drop(batch, "good.mp3")
    assert work(Engine()).state == "completed"
    assert polling.poll(batch.pk) == 0  # It still lies there, and is not taken again.


@contextmanager
def held_to_permissions() -> Iterator[None]:
    """Take from this thread what lets root read every file (capabilities(7)); no other user has it."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    usual = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, in two words of 32 bits
    assert libc.capget(header, usual) == 0
    fewer = (ctypes.c_uint32 * 6)(*usual)
    fewer[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, usual) == 0


def test_a_file_that_is_really_not_readable_fails_alone(batch: Batch) -> None:
    path = put(batch, "locked.mp3")
    put(batch, "good.mp3")
    assert [polling.poll(batch.pk) for _look in range(2)] == [0, 2]
    path.chmod(0)
    with held_to_permissions():
        names = {work(Engine()).name for _turn in range(2)}
    assert names == {"locked.mp3", "good.mp3"}
    assert Task.unscoped.get(name="good.mp3").state == Task.State.COMPLETED
    assert Task.unscoped.get(name="locked.mp3").error_code == ObjectError.code
    assert not path.exists()  # It is moved, as every input whose task has failed.


def test_a_file_that_the_storage_keeps_is_copied_and_says_so(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(batch, "kept.mp3")

    def keep(self: LocalStore, source: str, target: str, *, if_version: str | None = None) -> Any:
        self.copy(source, target, if_version=if_version)
        raise ObjectLocked(source)

    monkeypatch.setattr(LocalStore, "move", keep)
    task = work(Engine())
    task.refresh_from_db()
    assert (task.state, task.notice) == ("completed", Task.Notice.LOCKED)
    assert {"in/kept.mp3", "in/calls/kept.mp3"} <= files(batch)
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=365 * 8500)])
def test_a_time_in_the_future_settles_by_our_clock(batch: Batch, settings: Any, ahead: timedelta) -> None:
    settings.SETTLE_SECONDS = 10
    path = put(batch, "future.wav")
    when = timezone.now().timestamp() + ahead.total_seconds()
    os.utime(path, (when, when))
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)
    PendingFile.unscoped.update(since=timezone.now() - timedelta(seconds=11))
    assert polling.poll(batch.pk) == 1


def test_the_settle_time_is_the_batchs(batch: Batch, settings: Any) -> None:
    settings.SETTLE_SECONDS = 0
    batch.settle_seconds = 3600
    batch.save()
    put(batch, "slow.wav")
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)
    PendingFile.unscoped.update(since=timezone.now() - timedelta(hours=2))
    assert polling.poll(batch.pk) == 1


def test_a_finished_file_that_is_put_back_is_recognised_again_once(batch: Batch) -> None:
    drop(batch, "again.mp3")
    first = work(Engine())
    root = folder(batch)
    assert (root / "in/calls/again.mp3").exists()
    Path(root / "in/calls/again.mp3").rename(root / "in/again.mp3")
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 1)
    second = Task.unscoped.latest("pk")
    assert (second.pk != first.pk, second.name, second.notice) == (True, "again.mp3", Task.Notice.PUT_BACK)
    assert scheduling.claimable().filter(pk=second.pk).exists()
    assert work(Engine()).state == "completed"
    assert (polling.poll(batch.pk), polling.poll(batch.pk)) == (0, 0)
    assert Task.unscoped.count() == 2


def test_polls_grow_rare_where_nothing_comes_and_usual_where_something_does(
    batch: Batch, settings: Any
) -> None:
    settings.POLL_SECONDS = 30
    assert poll_schedule.pause_of(batch) == 30
    batch.quiet_polls = 20
    assert poll_schedule.pause_of(batch) == 60
    batch.quiet_polls = 1000
    assert poll_schedule.pause_of(batch) == poll_schedule.LONGEST_PAUSE
    batch.poll_seconds = 10
    assert poll_schedule.pause_of(batch) == 10
    for _turn in range(3):
        polling.poll(batch.pk)
    batch.refresh_from_db()
    assert batch.quiet_polls == 3
    drop(batch)
    batch.refresh_from_db()
    assert batch.quiet_polls == 0
