"""`WorkLoop`: runs the works of one file side by side, each a generator that waits for futures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from batches.recognition.asr.chunk_decoder import Work
from batches.recognition.runtime.batching import as_completed


class WorkLoop:
    """Loop over the works of one file, in the thread that calls :meth:`run`.

    It starts works while fewer than ``in_flight`` of them wait for a future.
    """

    def __init__(self, in_flight: int) -> None:
        self._in_flight = in_flight
        self._running: dict[Future[Any], Work] = {}
        self._awaited: set[Future[Any]] = set()  # of running works; completed ones leave it
        self._owned: set[Future[Any]] = set()

    def run(self, works: Iterable[Work], tick: Callable[[], None]) -> None:
        """Run works until all are finished. ``tick`` is called at least once a second.

        What a work raises, or a future that it waits for, ends the loop.
        """
        waiting = iter(works)

        def fill() -> None:
            while len(self._awaited) < self._in_flight and (work := next(waiting, None)) is not None:
                self._resume(work, None)

        fill()
        for future in as_completed(self._awaited, tick):
            self._owned.discard(future)
            self._resume(self._running.pop(future), future.result())
            fill()

    def together(self, works: Sequence[Work]) -> Work:
        """Part of a work: run others side by side, and continue when all of them are finished."""
        left, finished = len(works), Future[None]()

        def counted(work: Work) -> Work:
            nonlocal left
            yield from work
            left -= 1
            if not left:
                finished.set_result(None)

        for work in works:
            self._resume(counted(work), None)
        if works:
            yield finished

    def own(self, *futures: Future[Any]) -> None:
        """Take over futures that a work has submitted: :meth:`cancel` cancels those too that none awaits."""
        self._owned.update(futures)

    def abandon(self, futures: Iterable[Future[Any]]) -> None:
        """Cancel owned futures that are not needed any more."""
        for future in futures:
            future.cancel()
            self._owned.discard(future)

    def cancel(self) -> None:
        """Cancel all futures that are pending."""
        for future in self._owned | self._awaited:
            future.cancel()

    def _resume(self, work: Work, result: Any) -> None:
        try:
            future = work.send(result)
        except StopIteration:
            return
        self._running[future] = work
        self._awaited.add(future)
