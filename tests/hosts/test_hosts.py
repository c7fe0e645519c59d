"""Several hosts: a web host, three worker hosts, one PostgreSQL, one Redis, one S3 server.

One worker host loses its network and its power in the middle of its work and of a transaction. Everything
ends well.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from django.conf import settings

from speechportal.storage.embedded.swift import SwiftServer
from tests.hosts.machines import (
    ROOT,
    Machine,
    Network,
    answers,
    free_port,
    postgresql_server,
    redis_server,
    wait_for,
)

pytestmark = pytest.mark.hosts

SCENE = str(Path(__file__).with_name("scene.py"))


class Installation:
    """Settings that all hosts share, and commands that start the portal on each."""

    def __init__(self, network: Network, database: str, redis: str, swift: SwiftServer) -> None:
        self.network = network
        self.common = {
            "SPEECHPORTAL_SECRET_KEY": secrets.token_urlsafe(50),
            "SPEECHPORTAL_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "SPEECHPORTAL_DATABASE_URL": database,
            "SPEECHPORTAL_REDIS_URL": redis,
            "SPEECHPORTAL_MODELS_DIR": str(settings.MODELS_DIR),
            "SPEECHPORTAL_RECOGNITION_WORKERS": "1",
            "SPEECHPORTAL_ALLOWED_HOSTS": "*",
            "SPEECHPORTAL_POLL_SECONDS": "1",
            "SPEECHPORTAL_SETTLE_SECONDS": "1",
            "SPEECHPORTAL_IDLE_SECONDS": "3",
            "SPEECHPORTAL_LEASE_SECONDS": "10",
            "S3_ENDPOINT": swift.endpoint_url,
            "S3_SECRET": swift.secret("t1"),
        }

    def environ(self, machine: Machine) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SPEECHPORTAL_")}
        return {**kept, **self.common, "SPEECHPORTAL_DATA_DIR": str(machine.folder)}

    def run(self, machine: Machine, *only: str, bind: str = "127.0.0.1:0") -> None:
        # Each host has a name of its own, as real ones have.
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', machine.name]
        command = [sys.executable, "manage.py", "run", "--bind", bind, "--only", *only]
        machine.start([*named, *command] if machine.namespace else command, self.environ(machine), "portal")

    def call(self, machine: Machine, *command: str) -> str:
        inside = ["/sbin/ip", "netns", "exec", machine.namespace] if machine.namespace else []
        done = subprocess.run(
            [*inside, sys.executable, *command],
            cwd=ROOT,
            env=self.environ(machine),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def hold_account(self, machine: Machine) -> None:
        """The machine is in the middle of a transaction, with a lock that all claims of the account need."""
        holding = machine.start([sys.executable, SCENE, "hold"], self.environ(machine), "hold")
        log = machine.folder / "hold.log"

        def holds() -> bool:
            return b"held" in log.read_bytes()

        wait_for(lambda: holds() or holding.poll() is not None, 120, "the account is held")
        assert holds()

    def count(self, machine: Machine) -> dict[str, Any]:
        counted: dict[str, Any] = json.loads(self.call(machine, SCENE, "count"))
        return counted

    def at_work(self) -> list[str]:
        """Workers with a task in progress. Asked at once: a command takes about as long as a lease lasts."""
        query = "SELECT worker FROM batches_task WHERE state = 'in_progress'"
        with psycopg.connect(self.common["SPEECHPORTAL_DATABASE_URL"]) as database:
            return [worker for (worker,) in database.execute(query).fetchall()]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with contextlib.ExitStack() as stack:
        network = stack.enter_context(Network(tmp_path))
        database = stack.enter_context(postgresql_server(network.address))
        redis = stack.enter_context(redis_server(network.address, tmp_path))
        accounts = {"t1": secrets.token_urlsafe(16)}
        swift = stack.enter_context(SwiftServer(tmp_path / "swift", 0, accounts, network.address))
        swift.create_bucket("t1", "hosts")
        yield Installation(network, database, redis, swift)


def test_a_worker_host_is_lost_in_the_middle_and_everything_ends_well(installation: Installation) -> None:
    network = installation.network
    web, *workers = [network.add_machine(name) for name in ("web", "worker1", "worker2", "worker3")]
    installation.call(web, "manage.py", "migrate", "--verbosity", "0")
    installation.call(web, SCENE, "make")
    port = free_port(network.address)
    installation.run(web, "web", "short", bind=f"0.0.0.0:{port}")
    for worker in workers:
        installation.run(worker, "recognition")
    lost = workers[1]
    files = 0

    def drop_more() -> None:
        nonlocal files
        installation.call(web, SCENE, "drop", str(files), str(files + 10))
        files += 10

    def lost_stands_still_at_work() -> bool:
        """All three have had work, and the one that is to be lost has a task that it will not finish."""
        counted = installation.count(web)
        if counted["states"].get("waiting", 0) < 2 * len(workers):  # A host without work loses nothing.
            drop_more()
        if not all(found_on(worker, counted["workers"]) for worker in workers):
            return False
        lost.signal(signal.SIGSTOP)
        if found_on(lost, installation.at_work()):
            return True
        lost.signal(signal.SIGCONT)
        return False

    wait_for(lost_stands_still_at_work, 240, "all hosts are at work", lambda: installation.count(web))
    installation.hold_account(lost)
    lost.cut_off()
    lost.lose_power()
    assert lost.pids() == []
    drop_more()

    def all_is_over() -> bool:
        counted = installation.count(web)
        return counted["states"].get("completed") == files and len(counted["reported"]) == files

    wait_for(all_is_over, 240, "everything is recognised and reported", lambda: installation.count(web))
    counted = installation.count(web)
    assert counted["tasks"] == files
    assert counted["states"] == {"completed": files}
    assert (counted["unmoved"], counted["left"], counted["moved"]) == (0, [], files)
    assert counted["results"] == counted["transcripts"] == 2 * files
    assert counted["charges"] == files
    assert counted["reported"] == sorted(f"{number:02}.ogg" for number in range(files))
    # The lost task was taken up again by another host.
    assert counted["attempts"][-1] == 2
    if network.has_cables:
        address = f"{network.address.rpartition('.')[0]}.10"
        assert answers(address, port)  # The web host serves all the while.
    for machine in (web, workers[0], workers[2]):
        machine.shut_down()
        assert machine.pids() == []


def found_on(machine: Machine, workers: list[str]) -> bool:
    """Whether a worker (``host:process id``) runs here; without namespaces, hosts share one name."""
    return not {int(worker.rpartition(":")[2]) for worker in workers}.isdisjoint(machine.pids())
