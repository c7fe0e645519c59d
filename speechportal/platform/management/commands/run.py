from __future__ import annotations

import os
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from speechportal.platform.supervisor import NAMES, Supervisor, services
from speechportal.platform.watchdog import Watchdog

ADDRESS = "SPEECHPORTAL_PUBLIC_URL"


class Command(BaseCommand):
    help = "Run the web server and the clusters of the queue, or some of them, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1:8000", help="ADDRESS:PORT of the web server")
        parser.add_argument(
            "--only",
            nargs="+",
            choices=NAMES,
            default=NAMES,
            help="what to run on this machine (default: everything); `recognition` on a worker machine",
        )

    def handle(self, *_args: Any, bind: str, only: list[str], **_options: Any) -> None:
        if not (settings.PRODUCTION or os.environ.get(ADDRESS) or os.environ.get(f"{ADDRESS}_FILE")):
            # By default links begin with the address of the web server.
            os.environ[ADDRESS] = f"http://{bind.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - to it nothing binds
        if "web" in only:
            _check_free(bind)
        supervisor = Supervisor(services(bind, only=only))
        supervisor.stop_on_signals()
        supervisor.start()
        where = f"is at http://{bind}/" if "web" in only else f"runs {' and '.join(only)}"
        self.stdout.write(f"Speech Portal {where}  (Ctrl-C stops it)")
        self.stdout.flush()
        try:
            supervisor.wait(Watchdog(supervisor, import_string(settings.STALLED_CLUSTERS)).tick)
        finally:
            self.stdout.write("Stopping …")
            supervisor.stop()


def _check_free(bind: str) -> None:
    """Raise CommandError unless the web server can listen there; it would be restarted for ever."""
    host, _colon, port = bind.rpartition(":")
    if bind.startswith(("unix:", "fd:")):
        return
    if not host or not port.isdecimal() or int(port) > 65535:
        raise CommandError(f"--bind is ADDRESS:PORT, such as 127.0.0.1:8000, not {bind}.")
    host = host.strip("[]")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
    except OSError as error:
        raise CommandError(
            f"The web server cannot listen at {bind}: {error.strerror}. End the program that does, or choose"
            " another address with --bind."
        ) from error
