"""Dynamic batching: items of many files are collected into batches and run by one thread per device.

Callers, one thread per file, submit items and wait for their futures. The batch thread takes the item that
has waited longest, adds others of the same kind that fit into its batch, and runs them together. So all files
in progress share batches, and no file starves.
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

_TICK = 1.0  # longest interval in seconds between two progress calls while a caller waits
_MOST_GATHERS = 4
_LEAST_TICK = 0.1  # shortest interval in seconds, except before the last call
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class BatchKind(Generic[Item, Result]):
    """Kind of work. ``run`` takes at most ``size`` items of one ``group`` and returns their results in order.

    The result of an item must not depend on the other items of its batch.
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
    """Thread that runs the batches of all kinds, one at a time. Thread-safe.

    The thread starts with the first item and calls ``start`` before the first batch. ``gather`` is the time
    in seconds to wait for more items for a batch that is not full, four times at most; useful on a GPU, not
    on a CPU.
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
        """Cancel pending items and end the thread after the current batch."""
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
            del batch  # otherwise the results stay in memory until the next batch

    def _wait_for_others(self) -> None:
        """Wait while items keep arriving for a batch that is not full, up to a limit."""
        for _ in range(_MOST_GATHERS if self._gather else 0):
            count = len(self._waiting)
            if self._closed or not count or count >= self._waiting[0].kind.size:
                return
            self._changed.wait_for(lambda: self._closed, self._gather)
            if len(self._waiting) == count:
                return

    def _take(self) -> list[_Entry]:
        """Take the next batch; empty after close. Cancelled items are dropped."""
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
    """Run a batch; if it fails, run its halves, so that only the faulty item fails."""
    try:
        results = batch[0].kind.run([entry.item for entry in batch])
        pairs = list(zip(batch, results, strict=True))
    except Exception as error:  # passed on to the caller
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
    """Yield futures as they complete, removing them from the set; the caller may add futures meanwhile.

    The caller may also remove futures, which are then not waited for. ``tick`` is called at least once a
    second and at the end. If it raises, or the caller leaves the loop early, the remaining futures are
    cancelled. The cost per future is constant, unlike with ``concurrent.futures.wait``, which checks all of
    them at every call.
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
    """Take all items from the queue, waiting for the first one; empty after the timeout."""
    found: list[Item] = []
    try:
        found.append(queue.get(timeout=max(0.0, timeout)))
        while True:
            found.append(queue.get_nowait())
    except Empty:
        return found


def results_in_order(
    futures: Sequence[Future[Result]],
    progress: Callable[[float], None],
    on_result: Callable[[int, Result], None] | None = None,
) -> list[Result]:
    """Wait for all results and return them in order.

    ``progress`` is called with the completed share at least once a second, ``on_result`` with the index and
    the result of each future as soon as it completes.
    """
    pending = set(futures)
    places = {future: place for place, future in enumerate(futures)}
    for future in as_completed(pending, lambda: progress(1.0 - len(pending) / len(futures))):
        result = future.result()  # raises at the first failure
        if on_result is not None:
            on_result(places[future], result)
    return [future.result() for future in futures]
