"""Journal of an upgrade: a file in the data folder from which a killed upgrade is continued.

::

    backup -> stage -> packages -> migrate -> switch -> restart -> done
                                                   \\-> back: stop -> unmigrate -> switch -> restart
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path


class UpgradeRefused(Exception):
    """Raised when the upgrade cannot begin or continue. The message says why, and what to do."""


class NotReady(Exception):
    """Raised when the new code does not become ready: the upgrade has to be rolled back."""


@dataclass
class Process:
    """Process `manage.py run` of the installation, with everything needed to restart it."""

    pid: int
    born: int  # clock ticks since the machine's start: with the PID it names one process
    arguments: list[str]
    folder: str
    unit: str = ""  # systemd unit, if it is run by one


@dataclass
class Journal:
    """State of an upgrade, from which it can be continued or rolled back."""

    before: str  # commit before the upgrade
    after: str  # commit to upgrade to
    begun_at: str  # ISO 8601, UTC
    step: str = "backup"
    backup: str = ""
    migrations: dict[str, str] = field(default_factory=dict)  # last applied one of each app, before
    processes: list[Process] = field(default_factory=list)
    cause: str = ""  # reason of the rollback; empty while there is none


class JournalFile:
    """Journal file in the data folder, replaced atomically at each step."""

    def __init__(self, data: Path) -> None:
        self.path = data / "upgrade.json"
        self.finished = data / "upgrade.last.json"
        self._lock = data / "upgrade.lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock for one upgrade at a time, which ends with the process. Raises UpgradeRefused."""
        with self._lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UpgradeRefused("Another upgrade is running.") from error
            yield

    def read(self, path: Path | None = None) -> Journal | None:
        try:
            found = json.loads((path or self.path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UpgradeRefused(f"{path or self.path} cannot be read; move it away.") from error
        found["processes"] = [Process(**each) for each in found["processes"]]
        return Journal(**found)

    def write(self, journal: Journal) -> None:
        part = self.path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(journal), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)

    def close(self, journal: Journal) -> None:
        """Keep the journal of a finished upgrade, for ``--back``."""
        self.write(journal)
        self.path.replace(self.finished)
