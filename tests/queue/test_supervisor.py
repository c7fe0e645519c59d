"""Supervisor: processes are started, restarted, and stopped in order."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from gunicorn.config import Config

from speechportal.platform import supervisor
from speechportal.platform.supervisor import CLUSTERS, NAMES, Service, Supervisor, services, web_command


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_cluster_of_the_queue_is_run() -> None:
    configured = {"short", *settings.Q_CLUSTER["ALT_CLUSTERS"]}
    assert set(CLUSTERS) == configured
    assert len(services("127.0.0.1:0")) == len(NAMES)
    assert [service.name for service in services("127.0.0.1:0", only=["recognition"])] == [
        "recognition cluster"
    ]


def test_the_web_server_keeps_no_socket_in_the_users_home() -> None:
    known = Config().settings
    assert ("control_socket_disable" in known) == ("--no-control-socket" in web_command("127.0.0.1:0"))


def test_what_ends_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0)
    log = tmp_path / "log"
    running = Supervisor([Service("short-lived", python("print('once', flush=True)"), log=log)])
    running.start()
    waiting = threading.Thread(target=running.wait, kwargs={"interval": 0.05})
    waiting.start()
    try:
        until(lambda: log.read_text().count("once") >= 3)
    finally:
        running.stopped.set()
        waiting.join()
        running.stop()


def test_stopping_asks_first_and_kills_whoever_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 1)
    polite, deaf = tmp_path / "polite", tmp_path / "deaf"
    ends = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye', flush=True)));"
    ignores = "import signal, time; signal.signal(15, signal.SIG_IGN);"
    tail = " print('ready', flush=True); time.sleep(60)"
    running = Supervisor(
        [
            Service("polite", python(ends + tail), log=polite),
            Service("deaf", python(ignores + tail), log=deaf),
        ]
    )
    running.start()
    until(lambda: polite.read_text() == deaf.read_text() == "ready\n")
    running.stop()
    assert polite.read_text() == "ready\nbye\n"
    ended = [service.process.returncode for service in running.services if service.process]
    assert ended == [0, -9]


def test_a_child_of_a_service_goes_with_it(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys;"
        " child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        " print(child.pid, flush=True); child.wait()"
    )
    log = tmp_path / "log"
    running = Supervisor([Service("parent", python(program), log=log)])
    running.start()
    until(lambda: log.read_text().endswith("\n"))
    child = Path("/proc") / log.read_text().strip()
    assert child.exists()
    running.stop()
    until(lambda: not child.exists() or "zombie" in (child / "status").read_text())
