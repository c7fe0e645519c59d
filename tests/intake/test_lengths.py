"""Duration estimates of waiting files, made without reading the files."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from django.utils import timezone

from batches.intake import duration_estimates
from batches.recognition.errors import NotMedia
from batches.recognition.media import decoding, ffmpeg_log
from batches.services import dry_run
from speechportal.platform import sentry
from speechportal.storage.backends.base import StoredFile
from speechportal.storage.backends.local import LocalStore
from tests.factories import make_account, make_batch, make_connection, make_task

pytestmark = pytest.mark.django_db


def sound(seconds: float, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * round(seconds * rate)))
    return file.getvalue()


def file(name: str, size: int) -> StoredFile:
    return StoredFile(key=f"in/{name}", size=size, version="1", modified=timezone.now())


def test_the_account_s_own_files_tell_the_pace_of_each_kind() -> None:
    batch = make_batch()
    for name, size, duration in (("a.wav", 1000, 500), ("b.WAV", 3000, 1500), ("c.mp3", 1000, 4000)):
        make_task(
            batch, name, state="completed", input_key=f"in/{name}", input_size=size, media_duration=duration
        )
    waiting = [file("new.wav", 10_000), file("new.mp3", 10_000)]
    assert duration_estimates.estimate(batch.account, waiting) == 5_000 + 40_000


def test_usual_bit_rates_where_nothing_is_known() -> None:
    account = make_account()
    make_task(make_batch(), "a.wav", state="completed", input_key="in/a.wav", input_size=1, media_duration=9)
    assert duration_estimates.estimate(account, [file("a.wav", 32_000)]) == 1000
    assert duration_estimates.estimate(account, [file("a.mp3", 16_000), file("a.mp4", 125_000)]) == 2000
    assert duration_estimates.estimate(account, []) is None


def test_the_check_of_a_batch_reads_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A web process lists; media is looked at by confined workers."""
    connection = make_connection(make_account())
    connection.store().put("in/a.wav", sound(90))
    for look in ("probe", "decode_chunks"):
        monkeypatch.delattr(decoding, look, raising=False)
    monkeypatch.setattr(LocalStore, "download", None)
    found = dry_run.preview(connection=connection, input_path="in", result_path="out")
    assert found.files == 1
    assert found.media_duration == pytest.approx(45_000, rel=0.01)  # 8 kHz, as if it were 16


@pytest.mark.parametrize(
    "log",
    ["Stream\n" * 50_000, "\n" * 60_000 + "x", "1" * 60_000, " " * 60_000, "Stream #0:0" + ": Audio" * 9000],
    ids=["streams", "newlines", "digits", "spaces", "audio"],
)
def test_what_ffmpeg_writes_is_read_in_linear_time(log: str) -> None:
    """A tag of 60,000 newlines once held the process for 40 s."""
    began = time.process_time()
    ffmpeg_log.describe(log)
    ffmpeg_log.is_cut_short(log)
    ffmpeg_log.speaks_of_encryption(log)
    assert sentry._ADDRESS.search(log) is None
    assert time.process_time() - began < 10


def test_what_looks_at_a_file_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret in its environment; where the kernel allows it, no network either."""
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\n{ env; cat /proc/net/dev; } >&2\n")
    program.chmod(0o700)
    run, printed = subprocess.run, []

    def kept(*args: Any, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
        printed.append(run(*args, **kwargs))
        return printed[-1]

    monkeypatch.setattr(subprocess, "run", kept)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
    monkeypatch.setenv("SPEECHPORTAL_SECRET_KEY", "canary")
    (tmp_path / "file").write_bytes(b"data")
    with pytest.raises(NotMedia):
        decoding.probe(tmp_path / "file")
    seen = printed[-1].stderr.decode()
    assert "canary" not in seen
    assert "PATH=" in seen
    sandbox = "batches.recognition.runtime.sandbox"
    allowed = subprocess.run(
        [sys.executable, "-c", f"from {sandbox} import leave_network; print(leave_network())"],
        capture_output=True,
        check=True,
    )
    if allowed.stdout == b"True\n":
        assert re.findall(r"^ *(\w+):", seen, re.MULTILINE) == ["lo"]
