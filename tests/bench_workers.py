"""Speed-up of two recognition workers on two cores over one, and audio per core and day.

    .venv/bin/python -m tests.bench_workers [--files 16] [--rounds 3] [--no-speakers] [--engine whisper]

Copies of pyannote.audio's sample (30 s, two speakers) go through the whole portal on two cores: found in a
local folder, claimed, recognised, written, charged, moved. One worker and two take turns, each with warm
models; the time runs from the start of the first file to the end of the last. Prints the ratio of the
medians, and ends with status 1 when it is below 1.8. Anything else that runs on the machine spoils it, which
the load tells, but not the CPU time that a file takes in all processes together.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

WANTED = 1.8
CORES = 2
SAMPLE_SECONDS = 30
PATIENCE_SECONDS = 1800
ROOT = Path(__file__).resolve().parents[1]


def prepare(folder: Path, engine: str) -> None:
    """Create an installation; its processes run on two cores only."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    models = os.environ.get("SPEECHPORTAL_MODELS_DIR") or str(ROOT / "var" / "models")
    for name in [name for name in os.environ if name.startswith("SPEECHPORTAL_")]:
        del os.environ[name]
    os.environ.update(
        DJANGO_SETTINGS_MODULE="speechportal.settings",
        SPEECHPORTAL_DATA_DIR=str(folder),
        SPEECHPORTAL_MODELS_DIR=models,
        SPEECHPORTAL_RECOGNITION_ENGINE=engine,
        SPEECHPORTAL_SETTLE_SECONDS="0",
        SPEECHPORTAL_IDLE_SECONDS="1",
        SPEECHPORTAL_LOG_LEVEL="WARNING",
    )
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], check=True, cwd=ROOT)
    import django

    django.setup()


class Portal:
    """The portal's clusters with a number of recognition workers, and a batch."""

    def __init__(self, folder: Path, workers: int, *, speakers: bool) -> None:
        from speechportal.platform.supervisor import Supervisor, services
        from tests.factories import make_batch

        self.workers = workers
        self.batch = make_batch(name=f"{workers} workers {time.time_ns()}", speakers=speakers)
        assert self.batch.connection is not None
        self.input = Path(self.batch.connection.place) / "in"
        environ = {"SPEECHPORTAL_RECOGNITION_WORKERS": str(workers)}
        only = ("short", "recognition")
        self.supervisor = Supervisor(services("127.0.0.1:0", folder / "log", environ, only))
        self.drops = 0

    def __enter__(self) -> Portal:
        self.supervisor.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self.supervisor.stop()

    def recognise(self, files: int, recording: Path | None = None) -> list[Any]:
        """Drop copies of a recording at once, and wait until all are done; returns their tasks."""
        from batches.intake import polling
        from batches.models import Task
        from batches.operations.demo.sample import sample_path
        from speechportal.platform import queue

        self.drops += 1
        draft = self.input.parent / f"draft-{self.drops}"
        draft.mkdir()
        for number in range(files):
            shutil.copy(recording or sample_path(), draft / f"{number:03}.wav")
        draft.rename(self.input / f"drop-{self.drops}")
        for _look in range(2):  # A file is taken once it has been seen twice.
            polling.poll(self.batch.pk)
        queue.wake_recognition(files)
        end = time.monotonic() + PATIENCE_SECONDS
        mine = Task.unscoped.filter(batch=self.batch, name__startswith=f"drop-{self.drops}/")
        while mine.filter(state="completed").count() < files:
            assert time.monotonic() < end, "the files are not recognised"
            assert not mine.filter(state="failed").exists(), mine.filter(state="failed").first()
            time.sleep(0.5)
        return list(mine)

    def warm_up(self) -> None:
        """Recognise files until each worker has done one, and has loaded its models."""
        seen: set[str] = set()
        while len(seen) < self.workers:
            seen |= {task.worker for task in self.recognise(2 * self.workers)}


def spent_by_processes() -> dict[int, float]:
    """CPU seconds so far of each child process, and of their children.

    A process counts with those that it has started and seen end.
    """
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                spent[int(entry.name)] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    def is_ours(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return {pid: seconds for pid, seconds in spent.items() if pid != os.getpid() and is_ours(pid)}


def peak_memory(pids: Iterable[int]) -> float:
    """Peak memory of the largest process, in MB."""
    peaks = [0.0]
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            peaks.append(int(found[1]) / 1024 if found else 0.0)
    return max(peaks)


def seconds_for(files: int, tasks: list[Any]) -> float:
    started: list[datetime] = [task.started_at for task in tasks]
    finished: list[datetime] = [task.finished_at for task in tasks]
    assert len(tasks) == files
    return (max(finished) - min(started)).total_seconds()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_workers", description=__doc__)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-speakers", action="store_true")
    parser.add_argument("--engine", default="whisper")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < CORES:
        print(f"This machine has fewer than {CORES} cores.", file=sys.stderr)
        return 2
    taken: dict[int, list[float]] = {1: [], 2: []}
    spent: dict[int, list[float]] = {1: [], 2: []}
    memory = 0.0
    with tempfile.TemporaryDirectory(prefix="speechportal-workers-") as name:
        folder = Path(name)
        prepare(folder, options.engine)
        (folder / "log").mkdir()
        print(f"load before: {os.getloadavg()[0]:.2f}", flush=True)
        for _ in range(options.rounds):
            for workers, times in taken.items():
                with Portal(folder, workers, speakers=not options.no_speakers) as portal:
                    portal.warm_up()
                    before = spent_by_processes()
                    times.append(seconds_for(options.files, portal.recognise(options.files)))
                    after = spent_by_processes()
                    cpu = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
                    memory = max(memory, peak_memory(after))
                    spent[workers].append(cpu / options.files)
                print(
                    f"  {workers} at work: {options.files} files in {times[-1]:.1f} s,"
                    f" {spent[workers][-1]:.2f} s of CPU time a file",
                    flush=True,
                )
    one, two = (statistics.median(times) for times in taken.values())
    audio = options.files * SAMPLE_SECONDS
    for workers, median in ((1, one), (2, two)):
        speed, alone = audio / median, SAMPLE_SECONDS / statistics.median(spent[workers])
        print(
            f"{workers} at work: {speed:.1f} x real time, {24 * speed:.0f} hours of audio a day;"
            f" by CPU time {24 * alone:.0f} a core"
        )
    print(f"a worker's recognition process holds {memory:.0f} MB at most")
    print(f"2 workers on {CORES} cores are {one / two:.2f} x as fast as 1 (wanted: {WANTED})")
    return 0 if one / two >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
