"""Shared batches: work on pieces of many files, gathered and run by one thread per device.

Callers, one thread per file, submit items and wait for their futures. The batch thread takes the item that
has waited longest, adds others of the same kind that fit into its batch, and runs them together. So the
pieces of all files in hand share batches, and every file gets its turn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_TICK = 1.0  # most seconds between two calls of progress while a caller waits
_MOST_GATHERS = 4
_LEAST_TICK = 0.1  # least seconds, but for the last call
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class BatchKind(Generic[Item, Result]):
    """A kind of work. ``run`` takes at most ``size`` items of one ``group``: one result each, in order.

    What ``run`` returns for an item must not depend on the other items of its batch.
    """

    run: Callable[[list[Item]], Sequence[Result]]
    size: int
    group: Callable[[Item], Hashable] = lambda _item: None


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    kind: BatchKind[Any, Any]
    group: Hashable
    item: Any
    future: Future[Any]


class BatchThread:
    """Runs the batches of all kinds, one at a time. Thread-safe.

    The thread starts with the first item. ``start`` is called in it before any batch runs. ``gather`` is the
    time in seconds in which others may join a batch that is not full, four times at most; a GPU wants some,
    a CPU none.
    """

    def __init__(self, name: str, start: Callable[[], None] = lambda: None, *, gather: float = 0.0) -> None:
        self._name, self._start, self._gather = name, start, gather
        self._waiting: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, kind: BatchKind[Item, Result], items: Iterable[Item]) -> list[Future[Result]]:
        """One future per item, in order. Raises RuntimeError after :meth:`close`."""
        entries = [_Entry(kind, kind.group(item), item, Future()) for item in items]
        with self._changed:
            if self._closed:
                raise RuntimeError("The engine has been closed.")
            self._waiting.extend(entries)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return [entry.future for entry in entries]

    def close(self) -> None:
        """Cancel what waits and end the thread after the batch that is running."""
        with self._changed:
            self._closed = True
            for entry in self._waiting:
                entry.future.cancel()
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _serve(self) -> None:
        self._start()
        while batch := self._take():
            _run(batch)
            del batch  # results must not live on here until the next batch comes

    def _wait_for_others(self) -> None:
        """Wait as long as items keep arriving for a batch that is not full, but not for ever."""
        for _ in range(_MOST_GATHERS if self._gather else 0):
            count = len(self._waiting)
            if self._closed or not count or count >= self._waiting[0].kind.size:
                return
            self._changed.wait_for(lambda: self._closed, self._gather)
            if len(self._waiting) == count:
                return

    def _take(self) -> list[_Entry]:
        """The next batch; none after close. Cancelled items are dropped."""
        with self._changed:
            while True:
                while self._waiting and self._waiting[0].future.cancelled():
                    self._waiting.popleft()
                if self._waiting or self._closed:
                    break
                self._changed.wait()
            self._wait_for_others()
            if not self._waiting:
                return []
            first = self._waiting[0]
            batch: list[_Entry] = []
            others: deque[_Entry] = deque()
            for entry in self._waiting:
                fits = len(batch) < first.kind.size and (entry.kind, entry.group) == (first.kind, first.group)
                if not fits:
                    others.append(entry)
                elif entry.future.set_running_or_notify_cancel():
                    batch.append(entry)
            self._waiting = others
        return batch or self._take()


def _run(batch: Sequence[_Entry]) -> None:
    """Run a batch; if it fails, run its halves, so that only the item that is at fault fails."""
    try:
        results = batch[0].kind.run([entry.item for entry in batch])
        pairs = list(zip(batch, results, strict=True))
    except Exception as error:  # whatever it is, it belongs to the caller
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        logger.warning("A batch of %d failed and is run in halves.", len(batch), exc_info=True)
        middle = len(batch) // 2
        _run(batch[:middle])
        _run(batch[middle:])
        return
    for entry, result in pairs:
        entry.future.set_result(result)


def as_completed(futures: set[Future[Result]], tick: Callable[[], None]) -> Iterator[Future[Result]]:
    """Futures as they complete, removed from the set that is given; more may be added to it meanwhile.

    The caller may also remove futures, which are then not waited for. ``tick`` is called at least once a
    second and at the end. If it raises, or the caller leaves the loop early, what is still in the set is
    cancelled. Each future costs the same however many there are: ``concurrent.futures.wait`` looks at all
    of them at every call.
    """
    completed: SimpleQueue[Future[Result]] = SimpleQueue()
    watched: set[Future[Result]] = set()
    ticked = time.monotonic()
    try:
        while futures:
            for future in futures - watched:
                watched.add(future)
                future.add_done_callback(completed.put)
            for future in _drain(completed, ticked + _TICK - time.monotonic()):
                watched.discard(future)
                if future in futures:
                    futures.discard(future)
                    yield future
            if not futures or time.monotonic() - ticked >= _LEAST_TICK:
                ticked = time.monotonic()
                tick()
    finally:
        for future in futures:
            future.cancel()


def _drain(queue: SimpleQueue[Item], timeout: float) -> list[Item]:
    """What is in the queue, waiting for the first item; none if none comes in time."""
    found: list[Item] = []
    try:
        found.append(queue.get(timeout=max(0.0, timeout)))
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found


def results_in_order(futures: Sequence[Future[Result]], progress: Callable[[float], None]) -> list[Result]:
    """All results. ``progress`` is called with the share of futures that are done, at least once a second."""
    pending = set(futures)
    for future in as_completed(pending, lambda: progress(1.0 - len(pending) / len(futures))):
        future.result()  # raises at the first failure
    return [future.result() for future in futures]
