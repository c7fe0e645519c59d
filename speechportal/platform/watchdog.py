"""Watchdog: restarts clusters that make no progress although their processes are running."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from django.db import DatabaseError, connection

from speechportal.platform.supervisor import Supervisor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30
REST_SECONDS = 300  # after a cluster's start, during which it is not restarted


class Watchdog:
    """Watchdog of one host. :meth:`Supervisor.wait` calls its :meth:`tick` once a second.

    ``stalled`` reads from the database which clusters (``short``, ...) make no progress. Each host restarts
    its own clusters; tasks in progress are released and continue elsewhere.
    """

    def __init__(self, supervisor: Supervisor, stalled: Callable[[], Iterable[str]]) -> None:
        self.supervisor = supervisor
        self.stalled = stalled
        self._next_look = time.monotonic() + LOOK_SECONDS

    def tick(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        try:
            names = {f"{name} cluster" for name in self.stalled()}
        except DatabaseError as error:
            logger.warning("the watchdog cannot read the database: %s", type(error).__name__)
            return
        finally:
            connection.close()
        for service in self.supervisor.services:
            if service.name in names and now - service.started_at > REST_SECONDS:
                logger.error("%s makes no progress: restarting it", service.name)
                self.supervisor.restart(service)
