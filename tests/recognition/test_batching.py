"""Shared batches: grouping, order, and the scope of a failure or a cancellation."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from batches.recognition.runtime.batching import BatchKind, BatchThread, as_completed, results_in_order


class Recorder:
    """A kind of work that doubles numbers, keeps its batches, and runs only while its gate is open."""

    def __init__(self, size: int = 4) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.running = threading.Event()
        self.kind: BatchKind[int, int] = BatchKind(self.run, size, lambda item: item >= 100)

    def run(self, items: list[int]) -> list[int]:
        self.running.set()
        assert self.gate.wait(10)
        self.batches.append(items)
        if 13 in items:
            raise ValueError("thirteen")
        return [2 * item for item in items]


@pytest.fixture
def batches() -> Iterator[BatchThread]:
    thread = BatchThread("test")
    yield thread
    thread.close()


def occupy(thread: BatchThread, work: Recorder) -> Future[int]:
    """Have a first batch run, so that what is submitted next waits together."""
    (first,) = thread.submit(work.kind, [0])
    assert work.running.wait(10)
    return first


def test_items_of_several_callers_share_batches_in_the_order_in_which_they_came(batches: BatchThread) -> None:
    work = Recorder()
    occupy(batches, work)
    one = batches.submit(work.kind, [1, 2])
    other = batches.submit(work.kind, [3, 4, 5])
    work.gate.set()
    assert [future.result(10) for future in [*one, *other]] == [2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2, 3, 4], [5]]


def test_a_batch_holds_items_of_one_group_and_the_longest_wait_goes_first(batches: BatchThread) -> None:
    work = Recorder()
    occupy(batches, work)
    futures = batches.submit(work.kind, [1, 100, 2, 101])
    work.gate.set()
    assert [future.result(10) for future in futures] == [2, 200, 4, 202]
    assert work.batches == [[0], [1, 2], [100, 101]]


def test_only_the_item_at_fault_fails(batches: BatchThread) -> None:
    work = Recorder()
    occupy(batches, work)
    futures = batches.submit(work.kind, [1, 13, 2, 3])
    work.gate.set()
    with pytest.raises(ValueError, match="thirteen"):
        futures[1].result(10)
    assert [futures[index].result(10) for index in (0, 2, 3)] == [2, 4, 6]


def test_what_was_cancelled_does_not_run(batches: BatchThread) -> None:
    work = Recorder()
    occupy(batches, work)
    futures = batches.submit(work.kind, [1, 2, 3])
    futures[0].cancel()
    futures[2].cancel()
    work.gate.set()
    assert futures[1].result(10) == 4
    assert work.batches == [[0], [2]]


def test_a_caller_that_gives_up_leaves_the_others_alone(batches: BatchThread) -> None:
    work = Recorder(size=1)
    first = occupy(batches, work)
    mine, other = batches.submit(work.kind, [1, 2]), batches.submit(work.kind, [3])

    def give_up(_share: float) -> None:
        raise InterruptedError

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(results_in_order, [first, *mine], give_up)
        with pytest.raises(InterruptedError):
            waiting.result(10)
    work.gate.set()
    assert other[0].result(10) == 6
    assert work.batches == [[0], [3]]


def test_progress_is_called_while_a_caller_waits_and_ends_at_the_whole(batches: BatchThread) -> None:
    work = Recorder(size=1)
    futures = batches.submit(work.kind, [1, 2, 3, 4])
    shares: list[float] = []

    def note(share: float) -> None:
        shares.append(share)
        work.gate.set()  # nothing runs before progress has been called once

    assert results_in_order(futures, note) == [2, 4, 6, 8]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_futures_that_are_added_meanwhile_are_waited_for_too(batches: BatchThread) -> None:
    work = Recorder()
    work.gate.set()
    pending = set(batches.submit(work.kind, [1]))
    found = []
    for future in as_completed(pending, lambda: None):
        found.append(future.result())
        if found[-1] < 16:
            pending.update(batches.submit(work.kind, [found[-1]]))
    assert found == [2, 4, 8, 16]


def test_closing_cancels_what_waits_and_takes_nothing_more() -> None:
    thread, work = BatchThread("test"), Recorder()
    first = occupy(thread, work)
    (waiting,) = thread.submit(work.kind, [1])
    threading.Timer(0.05, work.gate.set).start()
    thread.close()
    assert first.result(10) == 0
    with pytest.raises(CancelledError):
        waiting.result(10)
    with pytest.raises(RuntimeError, match="closed"):
        thread.submit(work.kind, [2])
