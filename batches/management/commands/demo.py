from __future__ import annotations

import contextlib
import secrets
import socket
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from batches.intake import poll_schedule
from batches.operations.demo import report
from batches.operations.demo.scene import EMAIL, Scene, set_up
from speechportal.env import stored_secret
from speechportal.platform.supervisor import Supervisor, services
from speechportal.storage.embedded.swift import SwiftServer

TIMEOUT_SECONDS = 1200
# Short intervals, so that the whole run takes minutes.
PACE = {
    "SPEECHPORTAL_POLL_SECONDS": "2",
    "SPEECHPORTAL_SETTLE_SECONDS": "1",
    "SPEECHPORTAL_IDLE_SECONDS": "10",
    "SPEECHPORTAL_LEASE_SECONDS": "20",
    "SPEECHPORTAL_LOG_LEVEL": "INFO",
}


class Command(BaseCommand):
    help = "Run the main job end to end on real speech, then serve the portal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1:8000")
        parser.add_argument("--storage", choices=["local", "s3"], default="local")
        parser.add_argument(
            "--exit", action="store_true", help="end when everything is done; status 1 if something is wrong"
        )

    def handle(self, *_args: Any, bind: str, storage: str, **options: Any) -> None:
        bind = free_address(bind)
        with contextlib.ExitStack() as stack:
            scene = set_up(storage, *stack.enter_context(_storage(storage)))
            self._introduce(scene, storage)
            environ = {**PACE, "SPEECHPORTAL_PUBLIC_URL": f"http://{bind}"}
            supervisor = Supervisor(services(bind, log_dir=log_folder(), environ=environ))
            supervisor.stop_on_signals()
            stack.callback(supervisor.stop)
            scene.drop_files()
            poll_schedule.wake(scene.batch.pk)
            supervisor.start()
            self._follow(scene, supervisor)
            if supervisor.stopped.is_set():
                return
            found = list(report.problems(scene))
            report.print_report(scene, sys.stdout)
            self._say_where(scene, storage, bind)
            for problem in found:
                self.stderr.write(self.style.ERROR(f"Wrong: {problem}"))
            scene.run.done = True
            scene.run.save()
            if not options["exit"]:
                self.stdout.write(
                    "\nServing until Ctrl-C. Files dropped into the input folder are recognised."
                )
                self.stdout.flush()
                supervisor.wait()
            elif found:
                raise CommandError(f"{len(found)} checks failed.")

    def _introduce(self, scene: Scene, storage: str) -> None:
        where = "a local folder" if storage == "local" else "an S3 server (OpenStack Swift) on this machine"
        if scene.resumed:
            self.stdout.write("Continuing the run that was interrupted.")
        self.stdout.write(f"Twelve recordings go into {where}; the portal finds and recognises them.\n")
        self.stdout.flush()

    def _follow(self, scene: Scene, supervisor: Supervisor) -> None:
        progress = report.LiveProgress(scene, sys.stdout)
        end = time.monotonic() + TIMEOUT_SECONDS

        def tick() -> None:
            if progress.show() or time.monotonic() > end:
                raise _Over

        with contextlib.suppress(_Over):
            supervisor.wait(tick)
        if time.monotonic() > end:
            raise CommandError(f"Not finished after {TIMEOUT_SECONDS} s; see the logs in {log_folder()}.")

    def _say_where(self, scene: Scene, storage: str, bind: str) -> None:
        report.heading("Where things are", sys.stdout)
        if storage == "local" and scene.batch.connection:
            self.stdout.write(f"  files      {scene.batch.connection.place}")
        elif scene.batch.connection:
            self.stdout.write(
                f"  files      {scene.batch.connection.parameters['endpoint_url']}, bucket demo"
            )
        self.stdout.write(f"  logs       {log_folder()}")
        self.stdout.write(f"  portal     http://{bind}/   (Django admin: http://{bind}/admin/)")
        self.stdout.write(f"  sign in    {EMAIL}   password  {scene.password}")
        self.stdout.flush()


class _Over(Exception):
    """Raised to end the wait: the run is over, or took too long."""


def log_folder() -> Path:
    folder: Path = settings.DATA_DIR / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _storage(storage: str) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Fields and secret of the demo's connection; for S3, with a server that runs meanwhile."""
    if storage == "local":
        folder = settings.STORAGE_LOCAL_ROOTS[0] / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        yield {"provider": "local", "local_folder": str(folder)}, None
        return
    secret = stored_secret(settings.DATA_DIR / "demo" / "s3_secret", secrets.token_urlsafe(24))
    with SwiftServer(settings.DATA_DIR / "demo" / "swift", accounts={"demo": secret}) as server:
        server.create_bucket("demo", "demo")
        fields = {
            "provider": "s3",
            "endpoint_url": server.endpoint_url,
            "region": server.region,
            "bucket": "demo",
            "access_key": server.access_key("demo"),
        }
        yield fields, secret


def free_address(bind: str) -> str:
    """Return ``bind``, or the same address with a free port if that one is in use."""
    host, _, port = bind.rpartition(":")
    for candidate in (int(port), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), candidate))
            except OSError:
                continue
            return f"{host}:{probe.getsockname()[1]}"
    raise CommandError(f"{host} has no free port.")
