"""Machines for tests: network namespaces on a bridge if available, otherwise separate folders."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _ip(*arguments: str) -> None:
    subprocess.run(["/sbin/ip", *arguments], check=True, capture_output=True)


@dataclass
class Machine:
    """A host: a folder, and a network namespace if the network has them."""

    name: str
    folder: Path
    namespace: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: list[str], environ: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        inside = ["/sbin/ip", "netns", "exec", self.namespace] if self.namespace else []
        with (self.folder / f"{log}.log").open("ab") as output:
            process = subprocess.Popen(
                [*inside, *command],
                cwd=ROOT,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cut_off(self) -> None:
        """Disconnect the machine from the network, if it has a namespace."""
        if self.namespace:
            _ip("netns", "exec", self.namespace, "ip", "link", "set", "eth0", "down")

    def lose_power(self) -> None:
        """Kill all processes on the machine."""
        end = time.monotonic() + 120
        while self.pids() and time.monotonic() < end:
            self.signal(signal.SIGKILL)
            time.sleep(0.05)
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def shut_down(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
        self.lose_power()

    def pids(self) -> list[int]:
        mark = str(self.folder).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() or mark in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found


class Network:
    """A bridge with this machine at ``address``, or loopback if namespaces are not available."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tag = secrets.token_hex(2)
        self.bridge = f"br{self.tag}"
        self.address = "127.0.0.1"
        self.machines: list[Machine] = []
        self.has_cables = False

    def __enter__(self) -> Network:
        subnet = 64 + int(self.tag, 16) % 64
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("address", "add", f"10.213.{subnet}.1/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
            self.address = f"10.213.{subnet}.1"
            self.has_cables = True
        return self

    def __exit__(self, *_error: object) -> None:
        for machine in self.machines:
            machine.lose_power()
            if machine.namespace:
                _ip("netns", "delete", machine.namespace)
        if self.has_cables:
            _ip("link", "delete", self.bridge)

    def add_machine(self, name: str) -> Machine:
        folder = self.folder / name
        folder.mkdir(parents=True)
        machine = Machine(name, folder)
        if self.has_cables:
            number = len(self.machines) + 10
            machine.namespace = f"{name}-{self.tag}"
            cable = f"c{number}{self.tag}"
            _ip("netns", "add", machine.namespace)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
            _ip("link", "set", cable, "master", self.bridge, "up")
            inside = ("-n", machine.namespace)
            _ip(*inside, "address", "add", f"{self.address.rpartition('.')[0]}.{number}/24", "dev", "eth0")
            _ip(*inside, "link", "set", "eth0", "up")
            _ip(*inside, "link", "set", "lo", "up")
        self.machines.append(machine)
        return machine


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def wait_for(
    condition: Callable[[], object], seconds: float, what: str, instead: Callable[[], object] = str
) -> None:
    """Wait for a condition; fails after ``seconds``, with the state in ``instead``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s; {instead()}"
        time.sleep(0.5)


def answers(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
        return True
    return False


@contextlib.contextmanager
def redis_server(address: str, folder: Path) -> Iterator[str]:
    """A Redis of its own; yields its URL."""
    program = shutil.which("redis-server")
    assert program, "redis-server is missing: `.ci/run` installs it"
    port = free_port(address)
    options = ["--bind", address, "--port", str(port), "--save", "", "--protected-mode", "no"]
    process = subprocess.Popen([program, *options, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(address, port), 20, "Redis")
        yield f"redis://{address}:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def postgresql_server(address: str) -> Iterator[str]:
    """A PostgreSQL cluster of its own; yields its URL."""
    port = free_port(address)
    command = [str(ROOT / ".ci" / "with-postgres"), sys.executable, "-c"]
    script = "import os; print(os.environ['SPEECHPORTAL_DATABASE_URL'], flush=True); input()"
    process = subprocess.Popen(
        [*command, script],
        env={**os.environ, "POSTGRES_LISTEN": f"{address}:{port}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline().startswith("postgresql://"), "PostgreSQL did not start"
        yield f"postgresql://portal@{address}:{port}/postgres"
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write("\n")
            process.stdin.close()
        process.wait(120)
        process.stdout.close()
