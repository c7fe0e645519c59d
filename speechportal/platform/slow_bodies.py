"""Slow bodies: ends request bodies that arrive too slowly, since each occupies a thread of the web server.

Reads of bodies are registered here. One thread of the process checks them twice a second, and ends

- a body that takes longer than ``REQUEST_BODY_SECONDS`` plus one second for each :data:`SLOWEST_BYTES`;
- while other long requests wait for a thread: bodies that have taken :data:`CROWDED_SECONDS` at a rate below
  :data:`CROWDED_BYTES` per second, the slowest first.

Only the time spent waiting in reads counts. A body is ended by shutting down the reading side of its socket,
so that a response can still be sent.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

SLOWEST_BYTES = 4 * 1024
CROWDED_SECONDS, CROWDED_BYTES = 4.0, 64 * 1024
LOOK_SECONDS = 0.5


@dataclass(eq=False)
class ArrivingBody:
    """Body that arrives on the socket ``client``, with its measured rate.

    ``free``: seconds before a minimum rate applies. ``ended``: it was ended because it was too slow.
    """

    client: socket.socket
    free: float
    received: int = 0
    ended: bool = False
    _waited: float = 0.0  # seconds in reads that have returned
    _since: float | None = None  # start of the present read
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Context manager around one read."""
        began = time.monotonic()
        with self._lock:
            self._since = began
        watch.add(self)
        try:
            yield
        finally:
            watch.remove(self)
            with self._lock:
                self._waited += time.monotonic() - began
                self._since = None

    @property
    def waited(self) -> float:
        with self._lock:
            present = time.monotonic() - self._since if self._since is not None else 0.0
            return self._waited + present

    @property
    def is_overdue(self) -> bool:
        return self.waited > self.free + self.received / SLOWEST_BYTES

    @property
    def rate(self) -> float:
        """Bytes per second of waiting."""
        return self.received / max(self.waited, 0.001)

    def end(self) -> None:
        with self._lock:
            if self._since is None:  # The read has returned.
                return
            self.ended = True
            with contextlib.suppress(OSError):  # The client has closed the connection.
                self.client.shutdown(socket.SHUT_RD)


def too_slow(bodies: list[ArrivingBody], queued: int) -> list[ArrivingBody]:
    """Bodies to end, of those that are being read, while ``queued`` requests wait for a thread."""
    overdue = [body for body in bodies if body.is_overdue]
    slow = [
        body
        for body in bodies
        if body not in overdue and body.waited > CROWDED_SECONDS and body.rate < CROWDED_BYTES
    ]
    return overdue + sorted(slow, key=lambda body: body.rate)[: max(queued - len(overdue), 0)]


class Watch:
    """Thread that checks the bodies being read in this process. ``queued``: requests that wait for one."""

    def __init__(self) -> None:
        self.queued = 0
        self._changed = threading.Condition()
        self._bodies: set[ArrivingBody] = set()
        self._thread: threading.Thread | None = None

    def add(self, body: ArrivingBody) -> None:
        with self._changed:
            self._bodies.add(body)
            if self._thread is None or not self._thread.is_alive():  # At the first body, and after a fork.
                self._thread = threading.Thread(target=self._run, name="slow-bodies", daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, body: ArrivingBody) -> None:
        with self._changed:
            self._bodies.discard(body)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._bodies)
                bodies = list(self._bodies)
            for body in too_slow(bodies, self.queued):
                body.end()
            time.sleep(LOOK_SECONDS)


watch = Watch()
