"""Fault injection: kills processes at named steps of the work, and at random."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from django.db import connection
from django.db.utils import Error as DatabaseError

from batches.models import Task
from tests.chaos import processes
from tests.chaos.database import Postgres, Sqlite
from tests.chaos.proxy import FaultyProxy, Request

# (what the worker asks of the storage, a part of the key, before or after it was done) -> the step's name
STEPS: dict[tuple[str, str, str], str] = {
    ("list", "", "after"): "polling, the answer on its way",
    ("download", "in/", "before"): "download, about to begin",
    ("download", "in/", "after"): "download, the answer on its way",
    ("put", "out/", "before"): "result, about to be written",
    ("put", "out/", "after"): "result, written and not noted",
    ("copy", "in/", "before"): "move, about to copy",
    ("copy", "in/", "after"): "move, copied and not deleted",
    ("delete", "in/", "after"): "move, deleted and not noted",
    ("put", "-execution-result-", "before"): "report, about to be written",
    ("put", "-execution-result-", "after"): "report, written and not noted",
    ("put", ".reason.txt", "after"): "reason, written and not moved",
}
STAGES = (Task.Stage.DOWNLOADING, Task.Stage.RECOGNISING, Task.Stage.WRITING)
SEPARATING = Task.Stage.SEPARATING_SPEAKERS
SELDOM = ("report", "reason")  # Only every tenth or twentieth file comes to such a step.
NO_ROOM = 4096  # bytes; every file that matters is longer


def step_of(request: Request, when: str) -> str:
    """Name of the step that a request belongs to, by the most specific part of the key."""
    fitting = [
        (len(part), name)
        for (asked, part, moment), name in STEPS.items()
        if asked == request.step and moment == when and part in request.key
    ]
    return max(fitting)[1] if fitting else ""


class Killer:
    """Kills ``at_steps`` times at each named step, and at random every ``pause`` seconds.

    Up to ``patience`` moments of a step pass before each kill at it.
    """

    def __init__(
        self,
        folder: Path,
        proxy: FaultyProxy,
        database: Sqlite | Postgres,
        seed: int,
        *,
        at_steps: int,
        pause: float,
        patience: int,
        fill_disk: Callable[[], None] | None,
        speakers: bool,
    ) -> None:
        self.folder, self.proxy, self.database = folder, proxy, database
        self.rng = random.Random(f"killer {seed}")
        self.pause = pause
        self.fill_disk = fill_disk
        self.done: Counter[str] = Counter()
        # How many more times to kill at a step, and how many of its moments to let pass before.
        stages = (*STAGES, SEPARATING) if speakers else STAGES
        self.plan = dict.fromkeys((*STEPS.values(), *(f"stage {stage}" for stage in stages)), at_steps)
        self.patience = patience
        self.skips = {name: self._skips(name) for name in self.plan}
        self.resting = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._at_stages, daemon=True),
            threading.Thread(target=self._at_random, daemon=True),
        ]
        proxy.watcher = self._watch

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.proxy.watcher = lambda _request, _when: None
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def left(self) -> list[str]:
        """Steps that have been killed at less often than planned."""
        return [name for name, count in self.plan.items() if count > 0]

    def _is_time(self, name: str) -> bool:
        with self._lock:
            if self.resting.is_set() or self.plan.get(name, 0) <= 0:
                return False
            if self.skips[name] > 0:
                self.skips[name] -= 1
                return False
            self.plan[name] -= 1
            self.skips[name] = self._skips(name)
            return True

    def _skips(self, name: str) -> int:
        return 0 if name.startswith(SELDOM) else self.rng.randint(0, self.patience)

    def _watch(self, request: Request, when: str) -> None:
        """Callback of the proxy, which delays the request until it returns."""
        name = step_of(request, when)
        if not name or not self._is_time(name):
            return
        owner = processes.owner_of_port(request.port, processes.of_run(self.folder))
        if owner and owner.role == "worker" and owner.kill():
            self.done[f"worker: {name}"] += 1
        else:
            self.plan[name] += 1

    def _at_stages(self) -> None:
        while not self._stopped.wait(0.2):
            with contextlib.suppress(DatabaseError):
                for stage, worker in Task.unscoped.filter(state=Task.State.IN_PROGRESS).values_list(
                    "stage", "worker"
                ):
                    name = f"stage {stage}"
                    if self._is_time(name):
                        pid = int(worker.rpartition(":")[2])
                        if processes.Process(pid, 0, "recognition", "worker").kill():
                            self.done[f"worker: {name}"] += 1
            connection.close()

    def _at_random(self) -> None:
        actions: list[tuple[int, Callable[[], None]]] = [
            (5, lambda: self._kill("worker", "recognition", signal.SIGKILL)),
            (2, lambda: self._kill("worker", "recognition", signal.SIGTERM)),
            (3, lambda: self._kill("worker", "short", signal.SIGKILL)),
            (4, lambda: self._kill("child", "recognition", signal.SIGKILL)),
            (1, lambda: self._kill("sentinel", "recognition", signal.SIGKILL)),
            (1, lambda: self._kill("sentinel", "short", signal.SIGKILL)),
            (1, lambda: self._kill("main", "recognition", signal.SIGKILL)),
            (1, lambda: self._kill("main", "short", signal.SIGKILL)),
            (1, lambda: self._kill("main", "recognition", signal.SIGTERM)),
            (1, lambda: self._kill("main", "short", signal.SIGTERM)),
            (1, self._everything),
            (1, self._quota),
            (2, self._full),
        ]
        if isinstance(self.database, Postgres):
            actions.append((2, self._crash_database))
        if self.fill_disk is not None:
            actions.append((1, self._fill))
        weights = [weight for weight, _ in actions]
        first: list[Callable[[], None]] = [self._full]  # Also where the rain is short.
        while not self._stopped.wait(self.rng.uniform(0.5, 1.5) * self.pause):
            action = first.pop() if first else self.rng.choices([each for _, each in actions], weights)[0]
            if not self.resting.is_set():
                action()

    def _kill(self, role: str, cluster: str, number: signal.Signals) -> None:
        fitting = [
            process
            for process in processes.of_run(self.folder)
            if process.role == role and process.cluster == cluster
        ]
        if fitting and self.rng.choice(sorted(fitting, key=lambda process: process.pid)).kill(number):
            self.done[f"{number.name} {cluster} {role}"] += 1

    def _everything(self) -> None:
        for process in processes.of_run(self.folder):
            process.kill()
        self.done["SIGKILL everything at once"] += 1

    def _quota(self) -> None:
        self.proxy.full = True
        time.sleep(self.rng.uniform(1, 3))
        self.proxy.full = False
        self.done["the bucket's quota was used up for a while"] += 1

    def _full(self) -> None:
        """Simulate a full disk without root: no process can extend a file or a SQLite database."""
        for process in processes.of_run(self.folder):
            process.limit_files(NO_ROOM)
        time.sleep(self.rng.uniform(3, 5))
        while sum(process.limit_files(None) for process in processes.of_run(self.folder)):
            time.sleep(0.3)  # One may have been started with the limit after the look.
        self.done["no process could write a file for a while"] += 1

    def _crash_database(self) -> None:
        assert isinstance(self.database, Postgres)
        self.database.crash()
        self.done["the database crashed and came back"] += 1

    def _fill(self) -> None:
        assert self.fill_disk is not None
        self.fill_disk()
        self.done["the portal's disk was full for a while"] += 1
