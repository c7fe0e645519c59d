"""Confinement of the processes that read media, tried out from within them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from batches.recognition.media import ffmpeg
from batches.recognition.runtime import sandbox

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, os, pathlib, signal, socket, subprocess, sys
from batches.recognition.runtime import sandbox
folder = pathlib.Path(sys.argv[1])
ask, theirs = socket.socketpair(), int(sys.argv[2])
if sys.argv[3] != "free":
    failed = sandbox.confine(
        readable=[*sandbox.system_libraries(), *sandbox.python_libraries(), folder / "models"],
        writable=[folder / "home"],
        graphics=sys.argv[3] == "graphics", devices=sandbox.null_devices())
    assert not failed, failed

def attempt(function):
    try:
        function()
    except OSError as error:
        return error.strerror
    return "done"

def connect():
    with socket.socket(socket.AF_UNIX) as local:
        local.connect(str(folder / "portal.sock"))

print(json.dumps({
    "models": attempt((folder / "models" / "weights").read_bytes),
    "change models": attempt(lambda: (folder / "models" / "weights").write_text("x")),
    "home": attempt(lambda: (folder / "home" / "new").write_text("x")),
    "secrets": attempt((folder / "secrets").read_bytes),
    "list": attempt(lambda: os.listdir(folder)),
    "another's environment": attempt(pathlib.Path(f"/proc/{theirs}/environ").read_bytes),
    "another's memory": attempt(lambda: open(f"/proc/{theirs}/mem", "rb")),
    "own signal": attempt(lambda: os.kill(os.getpid(), 0)),
    "signal": attempt(lambda: os.kill(theirs, 0)),
    "internet": attempt(lambda: socket.socket(socket.AF_INET)),
    "unix socket": attempt(connect),
    "program": attempt(lambda: subprocess.run([sys.executable, "-c", ""], check=True)),
}))
"""
KEPT = ("models", "home", "own signal", "program")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "models" / "weights").write_text("weights")
    (tmp_path / "secrets").write_text("secret")
    return tmp_path


def attempts(folder: Path, how: str) -> dict[str, str]:
    other = subprocess.Popen(["/bin/sleep", "60"])
    try:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder), str(other.pid), how],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        other.kill()
        other.wait()
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_confined_process_has_its_models_and_nothing_else(folder: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as portal:
        portal.bind(str(folder / "portal.sock"))
        portal.listen()
        free = attempts(folder, "free")
        confined = attempts(folder, "confined")
    assert set(free.values()) == {"done"}
    assert {name: confined.pop(name) for name in KEPT} == dict.fromkeys(KEPT, "done")
    assert len(confined) == 8
    assert set(confined.values()) <= {"Permission denied", "Operation not permitted"}


def test_what_a_graphics_card_needs_opens_nothing_else(folder: Path) -> None:
    confined = attempts(folder, "graphics")
    assert {name: confined.pop(name) for name in KEPT} == dict.fromkeys(KEPT, "done")
    assert len(confined) == 8
    assert set(confined.values()) <= {"Permission denied", "Operation not permitted"}


def test_ffmpeg_sees_the_file_in_hand_alone(tmp_path: Path) -> None:
    media, other = tmp_path / "media.mp3", tmp_path / "other.mp3"
    media.write_text("media")
    other.write_text("other")

    def read(path: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/cat", str(path)],
            preexec_fn=functools.partial(ffmpeg.confine, media, os.getpid()),
            capture_output=True,
            text=True,
            check=False,
        )

    assert read(media).stdout == "media"
    refused = read(other)
    assert refused.stdout == ""
    assert "Permission denied" in refused.stderr


def test_ffmpeg_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import functools, os, pathlib, subprocess, sys, time\n"
        "from batches.recognition.media import ffmpeg\n"
        "confine = functools.partial(ffmpeg.confine, pathlib.Path(sys.argv[1]), os.getpid())\n"
        "child = subprocess.Popen(['/bin/sleep', '60'], preexec_fn=confine)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert child.exists()
    parent.kill()
    parent.wait()
    end = time.monotonic() + 120
    while child.exists() and "zombie" not in (child / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_this_system_can_confine_all_parts() -> None:
    sandbox.tested.cache_clear()
    assert sandbox.missing() == ()


def test_a_test_that_does_not_run_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise BlockingIOError

    sandbox.tested.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", refuse)
        assert sandbox.missing() == sandbox.PARTS
    assert sandbox.missing() == ()


def test_a_kernel_without_landlock_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs in a separate process, with system calls that answer as such a kernel does."""
    program = (
        "import json\n"
        "from batches.recognition.runtime import landlock, sandbox\n"
        "landlock._CREATE_RULESET = 9999\n"
        "sandbox._CLONE_NEWNET = sandbox._CLONE_NEWUSER = -1\n"
        "print(json.dumps(sandbox.confine(readable=[], writable=[])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout) == ["files"]
