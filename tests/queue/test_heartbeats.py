"""Heartbeats of clusters: one that is down, or cannot reach its broker, is named within a minute."""

from __future__ import annotations

import errno
import multiprocessing
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from batches.tasks import model_hosts
from speechportal.platform import queue
from speechportal.platform.models import NamedLease
from tests.clients import Client

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def transaction_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "close_all", lambda: None)


def silent() -> None:
    """Let the time of silence pass since the last heartbeats."""
    clusters = NamedLease.objects.filter(name__startswith="cluster ")
    clusters.update(last_run_at=timezone.now() - queue.SILENT - timedelta(seconds=1))


def role(client: Client, name: str) -> tuple[int, str]:
    answer = client.get("/readyz", {"role": name})
    return answer.status_code, answer.json()["problem"]


def test_a_cluster_without_heartbeats_is_named_within_a_minute(client: Client) -> None:
    assert queue.SILENT + timedelta(seconds=queue.HEARTBEAT_SECONDS) <= timedelta(minutes=1)
    assert timedelta(seconds=2 * queue.HEARTBEAT_SECONDS) <= queue.SILENT  # One may be late.
    assert role(client, "short") == (200, "")  # It has never run here, as after an upgrade.
    model_hosts.report("cpu-1")
    for name in ("short", "deliveries", "recognition"):
        queue.send_heartbeat(name)  # a name of a cluster
        assert role(client, name) == (200, "")
    silent()
    for name in ("short", "deliveries", "recognition"):
        assert role(client, name) == (503, "no_worker")
    assert client.get("/readyz").status_code == 200
    queue.send_heartbeat("short")
    assert role(client, "short") == (200, "")


def test_a_broker_that_is_not_there_stops_the_heartbeats_and_is_named(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.send_heartbeat("short")
    silent()

    def refuse(_cluster: str) -> int:
        raise ConnectionError

    monkeypatch.setattr(queue, "queued_messages", refuse)
    queue.send_heartbeat("short")
    assert role(client, "short") == (503, "broker")
    monkeypatch.undo()
    monkeypatch.setattr(connections, "close_all", lambda: None)
    queue.send_heartbeat("short")
    assert role(client, "short") == (200, "")


def test_shared_memory_that_cannot_be_used_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.send_heartbeat("short")

    def lock() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Lock", lock)
    assert role(client, "short") == (200, "")  # Clusters that run go on.
    silent()
    assert role(client, "short") == (503, "shared_memory")
