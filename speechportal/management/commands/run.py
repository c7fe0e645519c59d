from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from speechportal.supervisor import Supervisor, services


class Command(BaseCommand):
    help = "Runs the web server and both clusters of the queue; Ctrl-C stops them all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bind", default="127.0.0.1:8000", help="ADDRESS:PORT of the web server")

    def handle(self, *_args: Any, bind: str, **_options: Any) -> None:
        supervisor = Supervisor(services(bind))
        supervisor.stop_on_signals()
        supervisor.start()
        self.stdout.write(f"Speech Portal is at http://{bind}/  (Ctrl-C stops it)")
        self.stdout.flush()
        try:
            supervisor.wait()
        finally:
            self.stdout.write("Stopping …")
            supervisor.stop()
