"""How many minutes wait in a path is told from a look at a few files."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from batches.intake import duration_estimates
from batches.recognition.errors import NotMedia
from batches.recognition.media import decoding
from batches.services import dry_run
from speechportal.storage.backends.base import ObjectStore
from tests.factories import make_account, make_connection

pytestmark = pytest.mark.django_db


def sound(seconds: float, rate: int = 8000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(bytes(2 * round(seconds * rate)))
    return file.getvalue()


@pytest.fixture
def store() -> ObjectStore:
    return make_connection(make_account()).store()


def put(store: ObjectStore, **files: bytes) -> int | None:
    for name, data in files.items():
        store.put(f"in/{name.replace('_', '.')}", data)
    found = [file for file in (store.stat(f"in/{name.replace('_', '.')}") for name in files) if file]
    return duration_estimates.estimate(store, found)


def test_files_alike_are_measured_by_a_few(store: ObjectStore) -> None:
    estimate = put(store, **{f"f{number}_wav": sound(number) for number in range(1, 9)})
    assert estimate == pytest.approx(36_000, rel=0.02)


def test_each_kind_has_a_pace_of_its_own(store: ObjectStore) -> None:
    estimate = put(store, a_wav=sound(10), b_wave=sound(10, rate=48_000), c_wave=sound(20, rate=48_000))
    assert estimate == pytest.approx(40_000, rel=0.02)


def test_what_cannot_be_measured_is_taken_as_the_others(store: ObjectStore) -> None:
    text = b"x" * len(sound(10))
    assert put(store, a_wav=sound(10), b_mp3=text) == pytest.approx(20_000, rel=0.02)
    assert put(store, notes_mp3=text, empty_wav=b"") is None


def test_large_files_are_not_fetched(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration_estimates, "SAMPLE_BYTES", 1000)
    assert put(store, a_wav=sound(10)) is None


def test_the_check_of_a_batch_tells_it() -> None:
    connection = make_connection(make_account())
    connection.store().put("in/a.wav", sound(90))
    found = dry_run.preview(connection=connection, input_path="in", result_path="out")
    assert found.media_duration == pytest.approx(90_000, rel=0.01)


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
    seen = printed[0].stderr.decode()
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
