"""kill -9 of the engine process while it processes files of eight tasks, in the running portal."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.chaos import processes
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

ROOT = Path(__file__).resolve().parents[2]
FILES = 8
MAKE_BATCH = """
from tests.factories import make_batch
batch = make_batch(name="calls", formats=["json"], language="en-US")
print(batch.connection.parameters["local_folder"])
"""


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    given = {
        "DATA_DIR": str(folder),
        "MODELS_DIR": str(settings.MODELS_DIR),
        "RECOGNITION_WORKERS": "1",
        "FILES_AT_ONCE": str(FILES),
        "POLL_SECONDS": "2",
        "SETTLE_SECONDS": "0",
    }
    return {**kept, **{f"SPEECHPORTAL_{name}": value for name, value in given.items()}}


def manage(folder: Path, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "portal.sqlite3", timeout=30) as database:
        return database.execute(query).fetchall()


def wait_for(what: str, fact: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, what
        time.sleep(0.2)


@pytest.fixture
def folder(tmp_path: Path, migrated_data: Callable[[Path], Path]) -> Iterator[Path]:
    folder = migrated_data(tmp_path / "data")
    storage = Path(manage(folder, "shell", "-v", "0", "-c", MAKE_BATCH).strip().splitlines()[-1])
    recording = write_wav(tmp_path / "speech.wav", load_sample()[6 * 16_000 : 18 * 16_000])
    for number in range(FILES):
        (storage / "in" / f"{number}.wav").write_bytes(recording.read_bytes())
    portal = subprocess.Popen(
        [sys.executable, "manage.py", "run", "--only", "short", "recognition"],
        cwd=ROOT,
        env=environment(folder),
    )
    yield folder
    portal.send_signal(signal.SIGINT)
    portal.wait(120)


def test_each_file_has_one_result_one_charge_and_one_attempt(folder: Path) -> None:
    query = "SELECT count(*) FROM batches_task WHERE stage = 'recognising' AND progress >= 10"
    wait_for("the files are not in hand", lambda: rows(folder, query)[0][0] == FILES)
    (engine,) = [process for process in processes.of_run(folder) if process.role == "child"]
    assert engine.kill()
    ended = "SELECT count(*) FROM batches_task WHERE state NOT IN ('waiting', 'in_progress')"
    wait_for("the files did not end", lambda: rows(folder, ended)[0][0] == FILES)
    tasks = rows(folder, "SELECT state, attempts, delays FROM batches_task")
    assert tasks == [("completed", 1, 0)] * FILES
    charges = rows(folder, "SELECT count(*), count(DISTINCT task_id) FROM batches_charge")
    assert charges == [(FILES, FILES)]
    results = rows(folder, "SELECT key FROM batches_resultfile")
    assert len(results) == len(set(results)) == FILES
    assert [process for process in processes.of_run(folder) if process.pid == engine.pid] == []
