from __future__ import annotations

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
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
            # By default links start with the address that is served.
            os.environ[ADDRESS] = f"http://{bind.replace('0.0.0.0', '127.0.0.1')}"  # noqa: S104 - to it nothing binds
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
