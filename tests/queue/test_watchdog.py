"""Watchdog: a stalled cluster is restarted, unless it was started recently."""

from __future__ import annotations

import sys

import pytest
from django.db import OperationalError

from speechportal.platform import watchdog
from speechportal.platform.supervisor import Service, Supervisor
from speechportal.platform.watchdog import Watchdog

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(watchdog, "LOOK_SECONDS", 0)
    return Supervisor([Service("short cluster", SLEEP), Service("recognition cluster", SLEEP)])


def pids(supervisor: Supervisor) -> list[int]:
    return [service.process.pid for service in supervisor.services if service.process]


@pytest.mark.django_db
def test_only_the_cluster_that_stands_still_is_started_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "REST_SECONDS", 0)
    supervisor.start()
    try:
        before = pids(supervisor)
        Watchdog(supervisor, lambda: ["recognition"]).tick()
        after = pids(supervisor)
        assert after[0] == before[0]
        assert after[1] != before[1]
        Watchdog(supervisor, list).tick()
        assert pids(supervisor) == after
    finally:
        supervisor.stop()


@pytest.mark.django_db
def test_a_young_cluster_and_a_database_that_is_away_change_nothing(supervisor: Supervisor) -> None:
    def away() -> list[str]:
        raise OperationalError("gone")

    supervisor.start()
    try:
        before = pids(supervisor)
        Watchdog(supervisor, lambda: ["short", "recognition"]).tick()
        Watchdog(supervisor, away).tick()
        assert pids(supervisor) == before
    finally:
        supervisor.stop()
