"""Growing past one machine: a web host, three worker hosts, one PostgreSQL, one Redis, one S3 server.

One worker host loses its network and its power in the middle of its work. Everything ends well.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings

from speechportal.storage.embedded_swift import SwiftServer
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

FILES = 14
SCENE = str(Path(__file__).with_name("scene.py"))


class Installation:
    """What all hosts have in common, and how to start the portal on each."""

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

    def count(self, machine: Machine) -> dict[str, Any]:
        counted: dict[str, Any] = json.loads(self.call(machine, SCENE, "count"))
        return counted


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
    installation.call(web, SCENE, "make", str(FILES))
    port = free_port(network.address)
    installation.run(web, "web", "short", bind=f"0.0.0.0:{port}")
    for worker in workers:
        installation.run(worker, "recognition")
    lost = workers[1]

    def lost_is_at_work() -> bool:
        if network.has_cables:
            return any(name.startswith(lost.name) for name in installation.count(web)["running_on"])
        return len(installation.count(web)["running_on"]) == len(workers)

    wait_for(lost_is_at_work, 120, "the host that is to be lost has a task")
    lost.cut_off()
    lost.lose_power()
    assert lost.pids() == []

    def all_is_over() -> bool:
        counted = installation.count(web)
        return counted["states"].get("completed") == FILES and len(counted["reported"]) == FILES

    wait_for(all_is_over, 180, "everything is recognised and reported")
    counted = installation.count(web)
    assert counted["tasks"] == FILES
    assert counted["states"] == {"completed": FILES}
    assert (counted["unmoved"], counted["left"], counted["moved"]) == (0, [], FILES)
    assert counted["results"] == counted["transcripts"] == 2 * FILES
    assert counted["charges"] == FILES
    assert counted["reported"] == [f"{number:02}.ogg" for number in range(FILES)]
    # The lost task was taken up again by another host.
    assert counted["attempts"][-1] == 2
    if network.has_cables:
        assert {"worker1", "worker3"} <= set(counted["hosts"])
        address = f"{network.address.rpartition('.')[0]}.10"
        assert answers(address, port)  # The web host serves all the while.
    for machine in (web, workers[0], workers[2]):
        machine.shut_down()
        assert machine.pids() == []
