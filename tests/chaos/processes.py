"""Roles of the processes of a run, read from /proc."""

from __future__ import annotations

import os
import resource
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Role = Literal["main", "sentinel", "worker", "child"]


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    cluster: str
    role: Role

    def kill(self, number: signal.Signals = signal.SIGKILL) -> bool:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def limit_files(self, size: int | None) -> bool:
        """Limit files that a process writes to ``size`` bytes, like a full disk; ``None`` removes the limit.

        What it starts meanwhile inherits that. Returns whether there was anything to do.
        """
        try:
            soft, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
            wanted = hard if size is None else size
            if soft != wanted:
                resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (wanted, hard))
        except ProcessLookupError:
            return False
        return soft != wanted


def of_run(folder: Path) -> list[Process]:
    """The clusters' processes: main, sentinel and what the sentinel started; and what workers have started,
    the recognition children, whose environment is clean."""
    mark = f"SPEECHPORTAL_DATA_DIR={folder}".encode()
    parents: dict[int, int] = {}
    clusters: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        pid = int(entry.name)
        if mark in environ and b"cluster" in command:
            parents[pid] = parent
            clusters[pid] = command[command.index(b"cluster") + 1].decode()
        elif any(b"recognition" in part for part in command):
            parents[pid] = parent
    children = [pid for pid, parent in parents.items() if parent in clusters and pid not in clusters]
    found = [Process(pid, parents[pid], "recognition", "child") for pid in children]
    for pid, cluster in clusters.items():
        depth, above = 0, parents[pid]
        while above in clusters:
            depth, above = depth + 1, parents[above]
        role: Role = "main" if depth == 0 else "sentinel" if depth == 1 else "worker"
        found.append(Process(pid, parents[pid], cluster, role))
    return found


def owner_of_port(port: int, processes: list[Process]) -> Process | None:
    """Process that owns the connection from this local port of 127.0.0.1."""
    inode = ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            inode = fields[9]
    if not inode or inode == "0":
        return None
    for process in processes:
        try:
            for descriptor in Path(f"/proc/{process.pid}/fd").iterdir():
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return process
        except OSError:
            continue
    return None
