"""Restarts of the portal's processes on this machine: each `manage.py run`, or its systemd unit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from speechportal.platform.upgrade.journal import NotReady, Process, UpgradeRefused

STOP_SECONDS = 60.0  # the supervisor kills its processes after 20
_PREFIX = "SPEECHPORTAL_"
_OWN = {"SPEECHPORTAL_DATA_DIR", "SPEECHPORTAL_BACKUP_PASSPHRASE", "SPEECHPORTAL_BACKUP_PASSPHRASE_FILE"}
_UNIT = re.compile(r"/([\w@.-]*speechportal[\w@.-]*\.service)")


def running(code: Path) -> list[Process]:
    """List the processes `manage.py run` of a checkout (as root, of all users), web servers first."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            folder = (entry / "cwd").readlink()
            if os.getuid() not in {0, entry.stat().st_uid} or not _runs(arguments, folder, code):
                continue
            unit = _UNIT.search((entry / "cgroup").read_text())
            pid = int(entry.name)
            found.append(Process(pid, _born(pid), arguments, str(folder), unit[1] if unit else ""))
        except OSError:
            continue  # It has ended, or belongs to another user.
    return sorted(found, key=lambda process: not serves_pages(process))


def _runs(arguments: list[str], folder: Path, code: Path) -> bool:
    for place, word in enumerate(arguments[:-1]):
        if word.endswith("manage.py") and arguments[place + 1] == "run":
            return (folder / word).resolve() == (code / "manage.py").resolve()
    return False


def _born(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def is_alive(process: Process) -> bool:
    with contextlib.suppress(OSError, ValueError):
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return _born(process.pid) == process.born and state != "Z"
    return False


def serves_pages(process: Process) -> bool:
    return "--only" not in process.arguments or "web" in process.arguments


def other_settings(process: Process) -> list[str]:
    """Names of the portal's environment variables that differ between this process and ours."""
    pairs = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace").split("\0")
    theirs = dict(pair.split("=", 1) for pair in pairs if pair.startswith(_PREFIX) and "=" in pair)
    ours = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    names = (theirs.keys() | ours.keys()) - _OWN
    return sorted(name for name in names if theirs.get(name) != ours.get(name))


def stop(process: Process) -> None:
    """Stop a process gracefully, by its supervisor, and wait until it has ended."""
    if process.unit:
        _systemctl("stop", process.unit)
        return
    if is_alive(process):
        os.kill(process.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while is_alive(process):
        if time.monotonic() > end:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.1)


def start(process: Process, started_before: list[Process], logs: Path, environ: dict[str, str]) -> Process:
    """Start a process again, unless one of ``started_before`` is its replacement; returns the new process."""
    if process.unit:
        _systemctl("restart", process.unit)
        return process
    for other in started_before:
        if (other.arguments, other.folder) == (process.arguments, process.folder):
            return other
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "run.log").open("ab") as log:
        started = subprocess.Popen(
            process.arguments,
            cwd=process.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Process(started.pid, _born(started.pid), process.arguments, process.folder)


def _systemctl(verb: str, unit: str) -> None:
    program = shutil.which("systemctl") or "/usr/bin/systemctl"
    ran = subprocess.run([program, verb, unit], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise UpgradeRefused(f"systemctl {verb} {unit} failed: {ran.stderr.strip()} Run it as root.")


def address_of(processes: list[Process]) -> str:
    """Address of the web server of one of the processes; empty if none serves pages."""
    for process in processes:
        if serves_pages(process):
            words = process.arguments
            bind = words[words.index("--bind") + 1] if "--bind" in words else "127.0.0.1:8000"
            return f"http://{bind.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - to it nothing binds # nosec
    return ""


def await_ready(address: str, processes: list[Process], seconds: float) -> None:
    """Wait until ``/readyz`` reports that the portal is ready. Raises NotReady with its last response."""
    end, words = time.monotonic() + seconds, "no answer"
    while time.monotonic() < end:
        dead = [process for process in processes if not process.unit and not is_alive(process)]
        if dead:
            raise NotReady(f"`{' '.join(dead[0].arguments[1:])}` ended; its log has the cause")
        words = _readiness(address)
        if not words:
            return
        time.sleep(0.5)
    raise NotReady(f"{address}/readyz is not ready after {seconds:.0f} seconds: {words}")


def _readiness(address: str) -> str:
    """Query ``/readyz``: empty once ready, else its response."""
    request = urllib.request.Request(f"{address}/readyz")  # noqa: S310 - our own server # nosec B310
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above # nosec B310
            return "" if json.load(answer).get("ready") else "it says that it is not"
    except urllib.error.HTTPError as error:
        with contextlib.suppress(ValueError):
            return str(json.load(error).get("problem"))
        return f"status {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer ({type(error).__name__})"
