"""`WorkLoop`: works of one file side by side."""

from collections.abc import Callable
from concurrent.futures import Future

import pytest

from batches.recognition.asr.chunk_decoder import Work
from batches.recognition.asr.work_loop import WorkLoop


class Requests:
    """Futures by name, in the order in which works asked for them; answered one at each tick."""

    def __init__(self, answers: str) -> None:
        self.log: list[str] = []
        self.futures: dict[str, Future[str]] = {}
        self._answers = list(answers)

    def ask(self, name: str) -> Future[str]:
        self.log.append(f"ask {name}")
        return self.futures.setdefault(name, Future())

    def work(self, *names: str) -> Work:
        for name in names:
            answer = yield self.ask(name)
            self.log.append(f"got {answer}")

    def tick(self) -> None:
        if self._answers and self._answers[0] in self.futures:
            name = self._answers.pop(0)
            self.futures[name].set_result(name)


@pytest.fixture(autouse=True)
def _tick_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batches.recognition.runtime.batching._TICK", 0.01)
    monkeypatch.setattr("batches.recognition.runtime.batching._LEAST_TICK", 0.0)


def test_works_wait_beside_each_other_up_to_the_limit() -> None:
    requests = Requests("bac")
    WorkLoop(2).run([requests.work("a"), requests.work("b"), requests.work("c")], requests.tick)
    assert requests.log == ["ask a", "ask b", "got b", "ask c", "got a", "got c"]


def test_a_work_continues_when_all_that_it_waits_for_together_are_finished() -> None:
    requests, loop = Requests("zabdc"), WorkLoop(1)

    def whole() -> Work:
        yield from requests.work("z")
        yield from loop.together([requests.work("a", "d"), requests.work("b"), requests.work()])
        yield from requests.work("c")

    loop.run([whole()], requests.tick)
    assert requests.log == [
        "ask z", "got z", "ask a", "ask b", "got a", "ask d", "got b", "got d", "ask c", "got c",
    ]  # fmt: skip


@pytest.mark.parametrize("works", [[], [""], ["", ""]])
def test_works_that_wait_for_nothing_are_finished_at_once(works: list[str]) -> None:
    loop, done = WorkLoop(1), []

    def whole() -> Work:
        yield from loop.together([Requests("").work(*each) for each in works])
        done.append(len(works))

    loop.run([whole()], lambda: None)
    assert done == [len(works)]


def test_an_error_in_one_of_them_ends_the_loop_and_cancels_the_others() -> None:
    requests, loop = Requests("a"), WorkLoop(4)
    unasked: Future[str] = Future()

    def failing() -> Work:
        yield requests.ask("a")
        raise ValueError("broken")

    def whole() -> Work:
        loop.own(unasked)
        yield from loop.together([failing(), requests.work("b")])

    def run(tick: Callable[[], None]) -> None:
        try:
            loop.run([whole()], tick)
        finally:
            loop.cancel()

    with pytest.raises(ValueError, match="broken"):
        run(requests.tick)
    assert requests.futures["b"].cancelled()
    assert unasked.cancelled()
