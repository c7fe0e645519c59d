"""The database of a run: a SQLite file, or a private PostgreSQL cluster that can be made to crash."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class Sqlite:
    can_crash = False

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'portal.sqlite3'}"

    def start(self) -> None:
        """Do nothing: a file needs no server."""

    def stop(self) -> None:
        """Do nothing."""


class Postgres:
    can_crash = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "postgres"
        self.url = f"postgresql://portal@/postgres?host={self.folder}"
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not programs:
            raise SystemExit("PostgreSQL's server programs are not installed.")
        self.bin = programs[-1].parent

    def start(self) -> None:
        self.folder.mkdir(mode=0o755)
        if os.getuid() == 0:
            shutil.chown(self.folder, "nobody")
        options = ["--username", "portal", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        self._run("initdb", *options)
        self._control("start")

    def crash(self) -> None:
        """Stop the server as a power failure would, and restart it: committed data survives."""
        self._control("stop", "--mode", "immediate")
        self._control("start")

    def stop(self) -> None:
        self._control("stop", "--mode", "immediate")

    def _control(self, *action: str) -> None:
        settings = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections=100"
        start = ["--options", settings] if action[0] == "start" else []
        self._run("pg_ctl", "--log", str(self.folder / "log"), "--wait", *start, *action)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.bin / program), "--pgdata", str(self.folder / "data"), *arguments]
        if os.getuid() == 0:  # PostgreSQL refuses to run as root.
            command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
        subprocess.run(
            command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
