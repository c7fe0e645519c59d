"""Slots: a semaphore per engine that limits its concurrent files, implemented with kernel file locks.

Each engine has as many slots as it processes files at once. A client takes one, at the engine with the fewest
files, before it sends its file. A client with a file that must be alone takes all slots of an engine, and
closes the gate until the files before it are finished. The kernel releases the locks of a killed client.

Decoding has slots of the same kind, one per core of the machine.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from batches.recognition.runtime.pool import Endpoint

_PAUSE = 0.1  # seconds between two attempts


class EngineSlot:
    """Slot at one engine, held until :meth:`release`. ``alone``: no other file is processed there."""

    def __init__(self, endpoint: Endpoint, locks: list[int], *, alone: bool) -> None:
        self.endpoint = endpoint
        self.alone = alone
        self._locks = locks

    def release(self) -> None:
        _release(self._locks)


def take(endpoints: Sequence[Endpoint], *, alone: bool, tick: Callable[[], None]) -> EngineSlot:
    """Wait for a slot. ``tick`` is called several times a second; an exception from it cancels the wait."""
    closed: tuple[Endpoint, int] | None = None
    locks: list[int] = []
    try:
        while True:
            if not alone:
                if slot := _take_one(endpoints):
                    return slot
            else:
                closed = closed or _close_a_gate(endpoints)
                if closed and _take_all(closed[0], locks):
                    taken, locks = locks, []
                    return EngineSlot(closed[0], taken, alone=True)
            tick()
            time.sleep(_PAUSE)
    finally:
        _release(locks)
        if closed:
            _release([closed[1]])


@contextmanager
def decoding(folder: Path, *, tick: Callable[[], None], most: int = 1) -> Iterator[int]:
    """Hold at least one decoding slot, and up to ``most`` if they are free. There is one slot per core.

    Yields the number of slots held. ``tick`` is as in :func:`take`.
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


def _take_one(endpoints: Sequence[Endpoint]) -> EngineSlot | None:
    for number in range(max(endpoint.files_at_once for endpoint in endpoints)):
        for endpoint in endpoints:
            if number >= endpoint.files_at_once:
                continue
            if (gate := _lock(endpoint.path(".gate"), fcntl.LOCK_SH)) is None:
                continue
            try:
                if (lock := _lock(endpoint.path(f".slot-{number}"), fcntl.LOCK_EX)) is not None:
                    return EngineSlot(endpoint, [lock], alone=endpoint.files_at_once == 1)
            finally:
                _release([gate])
    return None


def _close_a_gate(endpoints: Sequence[Endpoint]) -> tuple[Endpoint, int] | None:
    for endpoint in endpoints:
        if (gate := _lock(endpoint.path(".gate"), fcntl.LOCK_EX)) is not None:
            return endpoint, gate
    return None


def _take_all(endpoint: Endpoint, locks: list[int]) -> bool:
    """Add locks of the engine's slots, in order, until one is taken. True if all are held."""
    while len(locks) < endpoint.files_at_once:
        if (lock := _lock(endpoint.path(f".slot-{len(locks)}"), fcntl.LOCK_EX)) is None:
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
