"""Seats: which files are in hand at which engine, held by locks of the kernel.

Each engine has as many seats as it takes files at once. A client takes one before it hands its file over,
at the engine with the fewest files; one whose file has to be alone takes all seats of an engine, and keeps
the gate closed while those before it finish. The kernel gives the locks of a killed client back.

Decoding has slots of the same kind: one for each core of the machine.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from batches.recognition.runtime.pool import Endpoint

_PAUSE = 0.1  # seconds between two tries


class Seat:
    """A place at one engine, until :meth:`release`. ``alone``: no other file is in hand there."""

    def __init__(self, endpoint: Endpoint, locks: list[int], *, alone: bool) -> None:
        self.endpoint = endpoint
        self.alone = alone
        self._locks = locks

    def release(self) -> None:
        _release(self._locks)


def take(endpoints: Sequence[Endpoint], *, alone: bool, tick: Callable[[], None]) -> Seat:
    """Wait for a seat. ``tick`` is called several times a second; what it raises ends the waiting."""
    closed: tuple[Endpoint, int] | None = None
    locks: list[int] = []
    try:
        while True:
            if not alone:
                if seat := _take_one(endpoints):
                    return seat
            else:
                closed = closed or _close_a_gate(endpoints)
                if closed and _take_all(closed[0], locks):
                    taken, locks = locks, []
                    return Seat(closed[0], taken, alone=True)
            tick()
            time.sleep(_PAUSE)
    finally:
        _release(locks)
        if closed:
            _release([closed[1]])


@contextmanager
def decoding(folder: Path, *, tick: Callable[[], None], most: int = 1) -> Iterator[int]:
    """Hold one of as many slots as there are cores, and up to ``most`` of those that are free at that moment.

    Yields how many are held. ``tick`` is as in :func:`take`.
    """
    paths = [folder / f"decoding-{number}" for number in range(len(os.sched_getaffinity(0)))]
    locks: list[int] = []
    while not locks:
        for path in paths:
            if len(locks) < most and (lock := _lock(path, fcntl.LOCK_EX)) is not None:
                locks.append(lock)
        if not locks:
            tick()
            time.sleep(_PAUSE)
    try:
        yield len(locks)
    finally:
        _release(locks)


def _take_one(endpoints: Sequence[Endpoint]) -> Seat | None:
    for number in range(max(endpoint.files_at_once for endpoint in endpoints)):
        for endpoint in endpoints:
            if number >= endpoint.files_at_once:
                continue
            if (gate := _lock(endpoint.path(".gate"), fcntl.LOCK_SH)) is None:
                continue
            try:
                if (lock := _lock(endpoint.path(f".seat-{number}"), fcntl.LOCK_EX)) is not None:
                    return Seat(endpoint, [lock], alone=endpoint.files_at_once == 1)
            finally:
                _release([gate])
    return None


def _close_a_gate(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, int] | None:
    for endpoint in endpoints:
        if (gate := _lock(endpoint.path(".gate"), fcntl.LOCK_EX)) is not None:
            return endpoint, gate
    return None


def _take_all(endpoint: Endpoint, locks: list[int]) -> bool:
    """Add locks of the engine's seats, in order, as far as they are free. True when all are held."""
    while len(locks) < endpoint.files_at_once:
        if (lock := _lock(endpoint.path(f".seat-{len(locks)}"), fcntl.LOCK_EX)) is None:
            return False
        locks.append(lock)
    return True


def _lock(path: Path, kind: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _release(locks: list[int]) -> None:
    while locks:
        os.close(locks.pop())
