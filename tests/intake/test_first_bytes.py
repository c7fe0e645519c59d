"""Content sniffing: files without an extension are recognised by their first bytes, or skipped and listed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from batches.intake import first_bytes, left_alone, notifications, polling
from batches.models import Batch, PendingFile, Task
from batches.reports import execution_results
from speechportal.storage.backends.local import LocalStore
from speechportal.storage.errors import AccessDenied
from tests.clients import Client
from tests.factories import make_account, make_batch, make_user
from tests.workbench import put

RECORDING = b"RIFF\x24\x00\x00\x00WAVEfmt "
TEXT = b"Minutes of the meeting, nothing to hear.\n"
# Containers as ffmpeg writes them; those it has no encoder for are given by their bytes.
PLAIN = [
    *("wav", "mp3", "flac", "ogg", "mp4", "mov", "mpegts", "w64", "caf", "aiff", "au", "adts", "ac3", "avi"),
    *("matroska", "asf", "wv"),
]
ENCODED: dict[str, list[str]] = {
    **{name: [] for name in PLAIN},
    "flv": ["-ar", "44100"],
    "mxf": ["-ar", "48000"],
    "3gp": ["-c:a", "aac"],
    "webm": ["-c:a", "libopus", "-ar", "48000"],
    "vob": ["-c:a", "ac3"],
}


@pytest.fixture
def batch(settings: Any) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(make_account(owner=make_user()), name="calls")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the files of which the first bytes were read."""
    found: list[str] = []
    usual = LocalStore.read_start

    def read_start(self: LocalStore, key: str, size: int) -> bytes:
        found.append(key)
        return usual(self, key, size)

    monkeypatch.setattr(LocalStore, "read_start", read_start)
    return found


def groups(batch: Batch) -> dict[str, tuple[str, ...]]:
    batch.refresh_from_db()
    return {group.reason: group.names for group in left_alone.groups(batch)}


@pytest.mark.parametrize("container", ENCODED)
def test_each_container_is_recognised(container: str, tmp_path: Path) -> None:
    path = tmp_path / "sound"
    made = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", "sine=duration=1"),
            *ENCODED[container],
            *("-f", container, str(path)),
        ],
        check=False,
        capture_output=True,
    )
    if container == "mxf" and made.returncode:
        path.write_bytes(bytes.fromhex("060e2b34020501010d01020101020400"))
    else:
        assert made.returncode == 0, made.stderr
    assert first_bytes.is_media(path.read_bytes()[: first_bytes.READ_BYTES])


@pytest.mark.parametrize(
    "data", [b"#!AMR\n<", b"#!AMR-WB\n", b"\x02dss" + bytes(8), b"RF64\xff\xff\xff\xffWAVE", b"ID3\x04"]
)
def test_other_recordings_are_recognised(data: bytes) -> None:
    assert first_bytes.is_media(data)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"G", TEXT, b"%PDF-1.7", b"PK\x03\x04", b"\x89PNG\r\n", b"\xff\xd8\xff\xe0", b"#!/bin/sh\n"),
        *(b"RIFF\x24\x00\x00\x00WEBP", b"\xff\xfe\x00\x00", b"GIF89a" + bytes(300), b"\xff" * 400),
    ],
)
def test_other_files_are_not(data: bytes) -> None:
    assert not first_bytes.is_media(data)


@pytest.mark.django_db
def test_a_recording_is_taken_and_another_file_is_named(batch: Batch, reads: list[str]) -> None:
    put(batch, "call", RECORDING)
    put(batch, "README", TEXT)
    for _ in range(4):
        polling.poll(batch.pk)
    assert [task.name for task in Task.unscoped.all()] == ["call"]
    assert groups(batch) == {"content": ("in/README",)}
    assert sorted(reads) == ["in/README", "in/call"]  # once each, however often the path is looked at


@pytest.mark.django_db
def test_a_file_that_changes_is_read_again(batch: Batch, reads: list[str]) -> None:
    put(batch, "call", b"")
    for _ in range(3):
        polling.poll(batch.pk)
    assert groups(batch) == {"content": ("in/call",)}
    put(batch, "call", RECORDING)
    for _ in range(2):
        polling.poll(batch.pk)
    assert Task.unscoped.get().name == "call"
    assert groups(batch) == {}
    assert reads == ["in/call"]


@pytest.mark.django_db
def test_a_poll_reads_a_bounded_number_of_files(
    batch: Batch, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "MOST_READS", 2)
    for number in range(5):
        put(batch, f"call{number}", RECORDING)
    counts = []
    for _ in range(5):
        polling.poll(batch.pk)
        counts.append((len(reads), Task.unscoped.count()))
    assert counts == [(0, 0), (2, 2), (4, 4), (5, 5), (5, 5)]


@pytest.mark.django_db
def test_what_is_left_alone_delays_no_report_and_no_pause(batch: Batch) -> None:
    put(batch, "README", TEXT)
    for _ in range(3):
        polling.poll(batch.pk)
    assert PendingFile.unscoped.get().is_media is False
    batch.refresh_from_db()
    assert batch.quiet_polls == 2
    assert execution_results.collect_idle() == 0


@pytest.mark.django_db
def test_a_file_that_cannot_be_read_becomes_a_task_that_says_so(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalStore, key: str, size: int) -> bytes:
        raise AccessDenied(key)

    put(batch, "call", RECORDING)
    monkeypatch.setattr(LocalStore, "read_start", refuse)
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    assert Task.unscoped.get().name == "call"


@pytest.mark.django_db
def test_notifications_look_at_the_first_bytes_too(batch: Batch) -> None:
    put(batch, "call", RECORDING)
    put(batch, "README", TEXT)
    put(batch, "empty", b"")
    assert notifications.take(batch.pk, ["in/call", "in/README", "in/empty"]) == 1
    assert Task.unscoped.get().name == "call"


@pytest.mark.django_db
def test_the_page_and_the_api_name_them(batch: Batch) -> None:
    put(batch, "README", TEXT)
    polling.poll(batch.pk)
    polling.poll(batch.pk)
    client = Client()
    client.force_login(batch.account.members.get())
    page = client.get(f"/batches/{batch.uid}/").content.decode()
    assert "Files without an ending that are no media files: 1." in page
