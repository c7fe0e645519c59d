"""Watchdog: restarts clusters that make no progress although their processes live."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from django.db import DatabaseError, connection

from speechportal.platform.supervisor import Supervisor

logger = logging.getLogger(__name__)

LOOK_SECONDS = 30
REST_SECONDS = 300  # A cluster that was just started is given time to catch up.


class Watchdog:
    """Watchdog, whose :meth:`tick` :meth:`Supervisor.wait` calls once a second.

    ``stalled`` returns the clusters that make no progress (``short``, ...), from the database. Of several
    machines each restarts its own; work in progress is released and continues elsewhere.
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
            logger.warning("the watchdog cannot ask the database: %s", type(error).__name__)
            return
        finally:
            connection.close()
        for service in self.supervisor.services:
            if service.name in names and now - service.started_at > REST_SECONDS:
                logger.error("%s does not get on with its work: starting it again", service.name)
                self.supervisor.restart(service)
