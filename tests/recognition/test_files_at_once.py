"""Several files in one engine: each has its own outcome, whatever happens to the others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batches.recognition.errors import EngineDied
from batches.recognition.options import Options
from batches.recognition.runtime import engine_slots
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import Endpoint, EnginePool
from batches.recognition.transcript import Transcript
from tests.recognition.engine_pools import client_of, engines, gone
from tests.recognition.sounds import write_wav
from tests.sample_speech import load_sample

SECONDS = 9  # of each recording


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnginePool]:
    with engines(tmp_path_factory.mktemp("scratch"), files_at_once=8) as pool:
        yield pool


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = load_sample()[6 * 16_000 : (6 + SECONDS) * 16_000]
    return write_wav(tmp_path_factory.mktemp("speech") / "speech.wav", samples)


class Worker:
    """A client in a thread of its own, as a worker process is."""

    def __init__(
        self,
        pool: EnginePool,
        path: Path,
        on_progress: Callable[[RecognitionClient], None] = lambda _client: None,
    ) -> None:
        self.client = client_of(pool)
        self.result: Transcript | Exception | None = None
        self._path, self._on_progress = path, on_progress
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self.client.transcribe(
                self._path, Options(language="en"), lambda _share: self._on_progress(self.client)
            )
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.result = error
        finally:
            self.client.close()

    def outcome(self) -> Transcript | Exception | None:
        self._thread.join(600)
        assert not self._thread.is_alive()
        return self.result


def texts(workers: list[Worker]) -> list[str]:
    outcomes = [worker.outcome() for worker in workers]
    assert [outcome for outcome in outcomes if not isinstance(outcome, Transcript)] == []
    return [outcome.text for outcome in outcomes if isinstance(outcome, Transcript)]


def test_the_engine_killed_with_eight_files_in_hand_costs_no_file_an_attempt(
    pool: EnginePool, speech: Path
) -> None:
    in_hand, killed = set[int](), threading.Event()
    lock = threading.Lock()

    def kill_once_all_are_there(client: RecognitionClient) -> None:
        with lock:
            if client.engine_pid and client.stage not in {"starting", "loading models", "done"}:
                in_hand.add(id(client))
            if len(in_hand) == 8 and not killed.is_set():
                killed.set()
                os.kill(client.engine_pid, signal.SIGKILL)

    workers = [Worker(pool, speech, kill_once_all_are_there) for _ in range(8)]
    found = texts(workers)
    assert killed.is_set()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert found[0]


def test_the_file_that_kills_the_engine_is_blamed_and_its_company_is_not(
    pool: EnginePool, speech: Path
) -> None:
    deaths: list[int] = []

    def kill(client: RecognitionClient) -> None:
        """Kill the engine, as a file does that crashes it whenever it is recognised."""
        if client.stage in {"recognising", "finding speech"} and client.engine_pid not in deaths:
            deaths.append(client.engine_pid)
            os.kill(client.engine_pid, signal.SIGKILL)

    company = [Worker(pool, speech) for _ in range(2)]
    poison = Worker(pool, speech, kill)
    found = texts(company)
    assert isinstance(poison.outcome(), EngineDied)
    assert len(found) == 2
    assert all(found)
    # In company it is not blamed: it has killed an engine alone as well.
    assert len(deaths) == len(set(deaths)) == 2
    assert all(gone(pid) for pid in deaths)


def test_one_that_is_given_up_leaves_the_others_alone(pool: EnginePool, speech: Path) -> None:
    class GivenUpError(Exception):
        pass

    def give_up(client: RecognitionClient) -> None:
        if client.engine_pid:
            raise GivenUpError

    client_of(pool).ping()
    before = pool.pids
    others = [Worker(pool, speech) for _ in range(2)]
    given_up = Worker(pool, speech, give_up)
    assert isinstance(given_up.outcome(), GivenUpError)
    assert all(texts(others))
    assert pool.pids == before


def test_a_client_that_reads_nothing_keeps_nobody_waiting(pool: EnginePool, speech: Path) -> None:
    with pool.endpoints[0].connect() as silent:
        silent.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
        message = b'{"id":1,"call":"ping"}'
        frame = len(message).to_bytes(4, "big") + b"\0" + message
        silent.settimeout(1)
        with pytest.raises(TimeoutError):  # the engine has stopped reading, since nobody reads its answers
            silent.sendall(frame * 100_000)
        with client_of(pool) as client:
            assert client.transcribe(speech, Options(language="en")).text


def test_a_file_that_has_to_be_alone_waits_for_the_others_and_keeps_new_ones_out(pool: EnginePool) -> None:
    endpoints = pool.endpoints

    class Busy(Exception):
        pass

    def give_up() -> None:
        raise Busy

    first = engine_slots.take(endpoints, alone=False, tick=give_up)
    second = engine_slots.take(endpoints, alone=False, tick=give_up)
    assert not first.alone
    waiting = threading.Event()
    alone: list[engine_slots.EngineSlot] = []
    thread = threading.Thread(
        target=lambda: alone.append(engine_slots.take(endpoints, alone=True, tick=waiting.set))
    )
    thread.start()
    assert waiting.wait(120)
    with pytest.raises(Busy):
        engine_slots.take(endpoints, alone=False, tick=give_up)
    first.release()
    second.release()
    thread.join(10)
    assert alone[0].alone
    with pytest.raises(Busy):
        engine_slots.take(endpoints, alone=False, tick=give_up)
    alone[0].release()
    engine_slots.take(endpoints, alone=False, tick=give_up).release()


def test_files_spread_over_the_engines_before_they_share_one(tmp_path: Path) -> None:
    endpoints = [Endpoint(tmp_path, number, "cpu", 2) for number in range(3)]
    taken = [engine_slots.take(endpoints, alone=False, tick=lambda: None) for _ in range(6)]
    assert [slot.endpoint.number for slot in taken] == [0, 1, 2, 0, 1, 2]
    for slot in taken:
        slot.release()
