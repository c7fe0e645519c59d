from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any, get_args

from django.core.management.base import BaseCommand, CommandError

from speechportal.platform import processes, queue


class Command(BaseCommand):
    help = "Run one cluster of the queue until SIGTERM."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", choices=get_args(queue.ClusterName))

    def handle(self, *_args: Any, name: queue.ClusterName, **_options: Any) -> None:
        if os.environ.get("Q_CLUSTER_NAME") != name:
            # django-q2 reads this variable at import, so restart the process with it set.
            environ = {**os.environ, "Q_CLUSTER_NAME": name}
            os.execve(sys.executable, [sys.executable, *sys.argv], environ)  # noqa: S606 - ourselves # nosec B606
        if reason := processes.semaphore_problem():
            raise CommandError(
                f"Shared memory (/dev/shm) cannot be used: {reason}. Mount a writable tmpfs of 64 MB there."
            )
        try:
            queue.try_writing(name)
        except Exception as error:  # each version of Redis has its own reasons
            raise CommandError(
                f"Redis does not accept the queue's messages: {type(error).__name__}. Check that it runs, and"
                " the host, port and password in SPEECHPORTAL_REDIS_URL."
            ) from error
        queue.run_cluster(name)
