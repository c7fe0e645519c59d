"""Workers killed while idle: no lock stays taken, and the cluster goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from speechportal.platform.process_locks import KernelLock
from tests.chaos import processes

ROOT = Path(__file__).resolve().parents[2]


def test_a_lock_ends_with_the_process_that_held_it() -> None:
    lock = KernelLock()
    context = get_context("fork")
    held = context.Event()

    def hold() -> None:
        lock.acquire()
        held.set()
        time.sleep(60)

    holder = context.Process(target=hold)
    holder.start()
    assert held.wait(120)
    assert not lock.acquire(block=False)
    assert not lock.acquire(timeout=0.05)
    holder.kill()
    assert lock.acquire(timeout=10)
    lock.release()
    holder.join()


def test_whoever_waits_gets_it_when_it_is_given_back() -> None:
    lock = KernelLock()
    context = get_context("fork")
    got, go_on = context.Event(), context.Event()

    def hold() -> None:
        with lock:
            got.set()
            go_on.wait(120)

    holder = context.Process(target=hold)
    holder.start()
    assert got.wait(120)
    threading.Timer(0.2, go_on.set).start()
    assert lock.acquire()
    lock.release()
    holder.join()
    assert holder.exitcode == 0


@pytest.fixture
def environment(tmp_path: Path, migrated_data: Callable[[Path], Path]) -> Iterator[dict[str, str]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
    given = {
        **kept,
        "SPEECHPORTAL_DATA_DIR": str(tmp_path / "data"),
        "SPEECHPORTAL_RECOGNITION_WORKERS": "2",
        "DJANGO_SETTINGS_MODULE": "speechportal.settings",
    }
    migrated_data(tmp_path / "data")
    cluster = subprocess.Popen(
        [sys.executable, "manage.py", "cluster", "recognition"], cwd=ROOT, env=given, start_new_session=True
    )
    yield given
    for process in processes.of_run(tmp_path / "data"):
        process.kill()
    cluster.wait(120)


def workers(folder: Path) -> list[processes.Process]:
    return [process for process in processes.of_run(folder) if process.role == "worker"]


def wait_for(what: str, fact: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not fact():  # type: ignore[operator] # a function
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_a_cluster_whose_idle_workers_were_killed_goes_on(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    enqueue = (
        "import django; django.setup(); from speechportal.platform import queue;"
        "queue.enqueue('batches.operations.jobs.recognise_next', cluster='recognition')"
    )

    def queued() -> int:
        with sqlite3.connect(folder / "portal.sqlite3", timeout=30) as database:
            query = "SELECT count(*) FROM django_q_ormq WHERE key = 'recognition'"
            return int(database.execute(query).fetchone()[0])

    wait_for("the cluster did not start", lambda: len(workers(folder)) >= 4)
    for _ in range(2):
        # Two workers, and the two helpers that fetch messages and note what is done.
        killed = workers(folder)
        for process in killed:
            process.kill()
        gone = {process.pid for process in killed}
        wait_for(
            "nobody took their place",
            lambda gone=gone: len([p for p in workers(folder) if p.pid not in gone]) >= 4,
        )
        subprocess.run([sys.executable, "-c", enqueue], cwd=ROOT, env=environment, check=True)
        wait_for("the message was not worked off", lambda: queued() == 0)


def engine_processes(folder: Path) -> set[int]:
    return {process.pid for process in processes.of_run(folder) if process.role == "child"}


def test_engines_outlive_workers_and_end_with_the_main_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    wait_for("the engines did not start", lambda: len(engine_processes(folder)) == 2)
    wait_for("the workers did not start", lambda: len(workers(folder)) == 2 * 2 + 2)
    engines, killed = engine_processes(folder), workers(folder)
    for process in killed:
        process.kill()
    gone = {process.pid for process in killed}
    wait_for(
        "no worker took their place",
        lambda: len([p for p in workers(folder) if p.pid not in gone]) == len(killed),
    )
    assert engine_processes(folder) == engines

    victim = min(engines)
    os.kill(victim, signal.SIGKILL)
    wait_for("the engine was not started again", lambda: len(engine_processes(folder) - {victim}) == 2)

    (main,) = [process for process in processes.of_run(folder) if process.role == "main"]
    main.kill()
    wait_for("processes were left behind", lambda: processes_of_folder(folder) == [])


def processes_of_folder(folder: Path) -> list[int]:
    """All processes that name the folder, whoever their parent is."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            ended = "\nState:\tZ" in (entry / "status").read_text()
            named = (
                str(folder).encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            )
        except OSError:
            continue
        if entry.name.isdigit() and int(entry.name) != os.getpid() and named and not ended:
            found.append(int(entry.name))
    return found
