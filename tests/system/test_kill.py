"""kill -9 of the whole portal during work on real speech, and its restart."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).resolve().parents[2]


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    return {
        **kept,
        "SPEECHPORTAL_DATA_DIR": str(folder),
        "SPEECHPORTAL_MODELS_DIR": str(settings.MODELS_DIR),
        "PYTHONUNBUFFERED": "1",
    }


def manage(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_of(folder: Path) -> list[int]:
    """Every process that was started for this folder, whoever its parent is by now."""
    mark = f"SPEECHPORTAL_DATA_DIR={folder}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes() + b"\0"
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        # The recognition process has a clean environment: it is known by the folder on its command line.
        if mark in environ or str(folder).encode() in command:
            found.append(int(entry.name))
    return found


def finished_tasks(folder: Path) -> int:
    database = folder / "portal.sqlite3"
    if not database.exists():
        return 0
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10) as connection:
        try:
            query = "SELECT count(*) FROM batches_task WHERE state IN ('completed', 'failed')"
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # Not migrated yet.


def wait_for_finished(folder: Path, count: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while finished_tasks(folder) < count:
        assert time.monotonic() < end, "nothing was finished in time"
        time.sleep(0.2)


def wait_until_gone(folder: Path, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    while (left := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


@pytest.fixture
def folder(tmp_path: Path, migrated_data: Callable[[Path], Path]) -> Path:
    return migrated_data(tmp_path / "data")


def test_killed_in_the_middle_everything_ends_as_if_nothing_had_happened(folder: Path) -> None:
    first = manage(folder, "demo", "--bind", "127.0.0.1:0", "--exit")
    wait_for_finished(folder, 2, 180)
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)
    first.communicate(timeout=240)
    assert wait_until_gone(folder, 10) == []
    assert finished_tasks(folder) < 12

    second = manage(folder, "demo", "--bind", "127.0.0.1:0", "--exit")
    output = second.communicate(timeout=300)[0]
    # The demo itself judges: twelve final states, results, moves, reasons, reports and eleven charges.
    assert second.returncode == 0, output
    assert "Continuing the run that was interrupted" in output
    with sqlite3.connect(folder / "portal.sqlite3") as connection:
        orders = [row[0] for row in connection.execute("SELECT task_order FROM batches_task ORDER BY 1")]
        charges = connection.execute(
            "SELECT count(*), count(DISTINCT task_id) FROM batches_charge"
        ).fetchone()
    assert orders == list(range(1, 13))
    assert charges == (11, 11)
    assert wait_until_gone(folder, 10) == []


def test_a_kill_of_the_supervisor_alone_leaves_no_process_behind(folder: Path) -> None:
    supervisor = manage(folder, "run", "--bind", "127.0.0.1:0")
    end = time.monotonic() + 240
    while len(processes_of(folder)) < 12:
        assert time.monotonic() < end
        time.sleep(0.2)
    supervisor.kill()
    assert wait_until_gone(folder, 120) == []
    supervisor.communicate(timeout=10)


def test_ctrl_c_stops_everything(folder: Path) -> None:
    supervisor = manage(folder, "run", "--bind", "127.0.0.1:0")
    end = time.monotonic() + 240
    while len(processes_of(folder)) < 12:
        assert time.monotonic() < end
        time.sleep(0.2)
    supervisor.send_signal(signal.SIGINT)
    supervisor.communicate(timeout=240)
    assert supervisor.returncode == 0
    assert processes_of(folder) == []
