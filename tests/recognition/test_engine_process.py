"""Engine process: confinement, ownership, and the effects of its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from batches.recognition.errors import EmptyFile, EngineDied, EngineStalled, EngineUnavailable
from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import EngineConfig, EnginePool
from batches.recognition.runtime.sandbox import MAX_FILE_BYTES
from batches.recognition.transcript import Segment
from tests.recognition.engine_pools import client_of, engines, gone
from tests.sample_speech import sample_folder, write_call

ROOT = Path(__file__).resolve().parents[2]
SECRET = "canary-51c0ffee"
LONG = sample_folder() / "sample.wav"  # its recognition goes on when progress is told, once a second


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnginePool]:
    """One engine for all tests of this module; it is restarted after a test has ended it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SPEECHPORTAL_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "ANYTHING_ELSE"):
            patch.setenv(name, SECRET)
        with engines(tmp_path_factory.mktemp("scratch")) as pool:
            client_of(pool).ping()
            yield pool


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_call(tmp_path_factory.mktemp("speech") / "speech.wav")


@pytest.fixture
def client(pool: EnginePool) -> Iterator[RecognitionClient]:
    client = client_of(pool)
    yield client
    client.close()


def kill_engine(client: RecognitionClient) -> None:
    """kill -9 of the process that has the client's file in hand."""
    assert client.engine_pid
    os.kill(client.engine_pid, signal.SIGKILL)
    assert gone(client.engine_pid)


def test_no_secret_is_in_its_environment(pool: EnginePool) -> None:
    assert os.environ.get("SPEECHPORTAL_SECRET_KEY") == SECRET
    environment = Path(f"/proc/{pool.pids[0]}/environ").read_bytes()
    assert b"HOME=" in environment
    assert SECRET.encode() not in environment
    assert b"SPEECHPORTAL" not in environment


def test_its_files_and_privileges_are_limited_and_it_leaves_no_core(pool: EnginePool) -> None:
    lines = Path(f"/proc/{pool.pids[0]}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max file size"] == [str(MAX_FILE_BYTES)] * 2
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pool.pids[0]}/status").read_text()


def test_its_socket_lies_in_a_folder_of_its_owner_alone(pool: EnginePool) -> None:
    assert stat.S_ISSOCK(pool.endpoints[0].path(".sock").stat().st_mode)
    assert stat.S_IMODE(pool.folder.stat().st_mode) == 0o700


def test_a_file_that_cannot_be_decoded_never_reaches_it(client: RecognitionClient, tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    for _ in range(2):
        with pytest.raises(EmptyFile):
            client.transcribe(tmp_path / "empty.mp3", Options())
    assert client.engine_pid == 0


def test_its_death_is_an_error_of_the_file_that_was_alone(client: RecognitionClient, speech: Path) -> None:
    killed: list[int] = []

    def kill(_share: float) -> None:
        if client.stage == "recognising" and not killed:
            killed.append(client.engine_pid)
            kill_engine(client)

    with pytest.raises(EngineDied, match=r"while recognising: it was killed \(SIGKILL\)") as died:
        client.transcribe(LONG, Options(), kill)
    assert not died.value.permanent
    assert client.transcribe(speech, Options(language="en")).text
    assert client.engine_pid not in {0, *killed}


def test_a_hang_is_noticed_and_ended(pool: EnginePool, speech: Path) -> None:
    with client_of(pool) as client:
        client.transcribe(speech, Options(language="en"))  # its models are loaded
    client = client_of(pool, stall=12)
    hanging: list[int] = []

    def hang(_share: float) -> None:
        if client.stage == "recognising" and not hanging:
            hanging.append(client.engine_pid)
            os.kill(client.engine_pid, signal.SIGSTOP)

    try:
        with pytest.raises(EngineStalled, match="no progress for 12 seconds while recognising"):
            client.transcribe(LONG, Options(), hang)
        assert gone(hanging[0])
        client.ping()
    finally:  # The other tests share the engine.
        client.close()
        for pid in hanging:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert pool.pids[0] not in hanging


def test_too_much_memory_for_the_models_is_the_operators_fault(tmp_path: Path, speech: Path) -> None:
    with engines(tmp_path, memory_limit_bytes=32 << 20) as pool:
        with pytest.raises(EngineUnavailable, match="the limit is 32 MB") as unavailable:
            client_of(pool).transcribe(speech, Options())
        assert not unavailable.value.permanent


def test_a_file_that_is_given_up_leaves_it_alive(
    client: RecognitionClient, pool: EnginePool, speech: Path
) -> None:
    class CancelledError(Exception):
        pass

    def give_up(_share: float) -> None:
        if client.stage == "recognising":
            raise CancelledError

    before = pool.pids
    with pytest.raises(CancelledError):
        client.transcribe(LONG, Options(), give_up)
    assert client.engine_pid == 0
    assert client.transcribe(speech, Options(language="en")).text
    assert pool.pids == before


OWNER = """
import sys, time
from pathlib import Path
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.pool import EngineConfig, EnginePool
pool = EnginePool(EngineConfig(), devices=["cpu", "cpu"], files_at_once=1, scratch=Path(sys.argv[1]))
with pool.running() as endpoints:
    for endpoint in endpoints:
        RecognitionClient([endpoint]).ping()
    print(*pool.pids, flush=True)
    time.sleep(60)
"""


def test_all_engines_die_with_their_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 2
    owner.kill()
    owner.wait()
    assert all(gone(pid) for pid in pids)


def test_the_socket_of_an_owner_that_is_gone_is_an_error_at_once(tmp_path: Path) -> None:
    pool = EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=tmp_path)
    client = client_of(pool)
    path = pool.endpoints[0].path(".sock")
    for engine in pool._engines:
        engine._listener.close()  # as the kernel does when the owner is killed: the file stays
    assert path.exists()
    began = time.monotonic()
    with pytest.raises(EngineUnavailable, match="has ended"):
        client.ping()
    assert time.monotonic() - began < 5
    pool.close()


def test_the_folder_of_an_owner_that_is_gone_is_removed_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    scratch = tmp_path / "scratch"
    stale = scratch / f"speechportal-recognition-{ended.pid}-x"
    stale.mkdir(parents=True)
    (stale / "engine-0.sock").touch()
    pool = EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=scratch)
    assert [path.name for path in scratch.iterdir()] == [pool.folder.name]
    pool.close()
    assert list(scratch.iterdir()) == []


def test_the_folder_of_a_living_owner_stays_whatever_its_process_id(tmp_path: Path) -> None:
    """Process ids are used again after a restart, and are different ones in each container."""
    scratch = tmp_path / "scratch"
    first, second = (
        EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=scratch) for _ in "12"
    )
    elsewhere = first.folder.with_name("speechportal-recognition-999999999-x")
    first.folder.rename(elsewhere)
    abandoned = scratch / f"speechportal-recognition-{os.getpid()}-x"
    abandoned.mkdir()
    (abandoned / "owner").touch()
    third = EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=scratch)
    assert set(scratch.iterdir()) == {elsewhere, second.folder, third.folder}
    for pool in (first, second, third):
        pool.close()


def test_one_that_ends_at_once_is_started_again_with_pauses(tmp_path: Path) -> None:
    """A process that cannot even import is no endless loop, and the reason is given."""
    pool = EnginePool(EngineConfig(), devices=["cpu"], files_at_once=1, scratch=tmp_path)
    (engine,) = pool._engines
    end = time.monotonic() + 6
    while time.monotonic() < end:
        pool.tick()
        if engine.process:
            os.kill(engine.process.pid, signal.SIGKILL)
        time.sleep(0.05)
    ends = pool.endpoints[0].ends()
    assert 2 <= len(ends) <= 4
    assert "SIGKILL" in ends[0]["reason"]
    pool.close()


def test_what_is_no_request_costs_only_the_connection(pool: EnginePool, client: RecognitionClient) -> None:
    for garbage in (b"\xff" * 64, b"\x00\x00\x00\x02\x00{}", b"\x00\x00\x00\x01\x05x", b"\x00\x00\x00\x09"):
        with pool.endpoints[0].connect() as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(20)
            while connection.recv(4096):
                pass
    before = pool.pids
    client.ping()
    assert pool.pids == before


def test_segments_arrive_while_recognition_runs(pool: EnginePool) -> None:
    sample = sample_folder() / "sample.wav"  # long enough for several chunks
    arrived: list[Segment] = []
    shares: list[float] = []

    def take(first: int, segments: Sequence[Segment], language: str) -> None:
        assert (first, language) == (len(arrived), "en")
        arrived.extend(segments)
        shares.append(share[0])

    share = [0.0]

    def note(done: float) -> None:
        share[0] = done

    with client_of(pool) as client:
        found = client.transcribe(sample, Options(language="en"), note, on_segments=take)
        plain = client.transcribe(sample, Options(language="en"))
    assert arrived
    assert arrived == found.segments[: len(arrived)]
    assert shares[0] < 1.0
    assert [(each.start, each.text) for each in found.segments] == [
        (each.start, each.text) for each in plain.segments
    ]
