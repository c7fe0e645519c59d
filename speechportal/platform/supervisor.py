"""Supervisor: starts the portal's processes, restarts those that end, and stops them in order."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from gunicorn import config as gunicorn_config

from speechportal.platform.processes import die_with_parent

logger = logging.getLogger(__name__)

GRACE_SECONDS = 20  # until a service is killed; workers release their tasks within seconds of SIGTERM
RESTART_SECONDS = 3
MEMORY = "/dev/shm"  # noqa: S108 - gunicorn's advice for its heartbeat file # nosec B108


@dataclass
class Service:
    """Program that the supervisor keeps running."""

    name: str
    command: list[str]
    environ: dict[str, str] = field(default_factory=dict)
    log: Path | None = None  # file for its output; None: the supervisor's own output
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0

    def start(self) -> None:
        output = self.log.open("ab") if self.log else None
        try:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Own session: Ctrl-C in the terminal reaches only the supervisor, which then stops a cluster
                # through its main process.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        finally:
            if output:
                output.close()
        self.started_at = time.monotonic()

    def restart_if_ended(self) -> None:
        if self.process is None or self.process.poll() is None:
            return
        if time.monotonic() - self.started_at > RESTART_SECONDS:
            logger.error("%s ended with status %s: restarting it", self.name, self.process.returncode)
            self.start()

    def terminate(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the whole session, since otherwise a cluster's workers would survive."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


CLUSTERS = ("short", "recognition", "deliveries")
NAMES = ("web", *CLUSTERS)


def web_command(bind: str, *, workers: int = 2, threads: int = 6) -> list[str]:
    """Command line of the web server: gunicorn with the portal's own worker class."""
    command = [sys.executable, "-m", "gunicorn", "speechportal.wsgi", "--bind", bind]
    command += ["--workers", str(workers), "--threads", str(threads)]
    command += ["--worker-class", "speechportal.platform.web_worker.GatheringWorker"]
    if hasattr(gunicorn_config, "ControlSocketDisable"):
        command += ["--no-control-socket"]  # It would lie in the user's home, which need not be writable.
    command += ["--chdir", str(settings.BASE_DIR), "--graceful-timeout", "5", "--log-level", "warning"]
    return command + (["--worker-tmp-dir", MEMORY] if os.access(MEMORY, os.W_OK) else [])


def services(
    bind: str,
    log_dir: Path | None = None,
    environ: dict[str, str] | None = None,
    only: Collection[str] = NAMES,
) -> list[Service]:
    """The web server and the clusters as services; with ``only``, some of them. All get ``environ``."""
    common = environ or {}
    python, manage = sys.executable, str(settings.BASE_DIR / "manage.py")

    def log(name: str) -> Path | None:
        return log_dir / f"{name}.log" if log_dir else None

    clusters = [
        Service(
            f"{name} cluster",
            [python, manage, "cluster", name],
            {**common, "Q_CLUSTER_NAME": name},
            log(name),
        )
        for name in CLUSTERS
        if name in only
    ]
    server = [Service("web server", web_command(bind), common, log("web"))] if "web" in only else []
    return [*server, *clusters]


class Supervisor:
    """Runs services until :meth:`stop` is called or the process gets a signal to stop."""

    def __init__(self, services: list[Service]) -> None:
        self.services = services
        self.stopped = threading.Event()

    def start(self) -> None:
        for service in self.services:
            service.start()

    def stop_on_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.stopped.set())

    def wait(self, tick: Callable[[], None] | None = None, interval: float = 1.0) -> None:
        """Restart services that end, until a stop is requested; calls ``tick`` every ``interval`` seconds."""
        while not self.stopped.wait(interval):
            for service in self.services:
                service.restart_if_ended()
            if tick:
                tick()

    def restart(self, service: Service) -> None:
        """Stop one service gracefully, and start it again."""
        service.terminate()
        self._wait_for(service, time.monotonic() + GRACE_SECONDS)
        service.start()

    def stop(self) -> None:
        """Send all services SIGTERM, wait, and kill those that have not ended."""
        for service in self.services:
            service.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for service in self.services:
            self._wait_for(service, deadline)

    def _wait_for(self, service: Service, deadline: float) -> None:
        if service.process:
            try:
                service.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                logger.warning("%s did not stop in time and is killed", service.name)
        service.kill()
