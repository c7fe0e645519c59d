"""The process that recognition runs in: what it is kept from, and what its end costs."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batches.recognition.errors import EmptyFile, EngineDied, EngineStalled
from batches.recognition.options import Options
from batches.recognition.runtime.client import RecognitionClient
from batches.recognition.runtime.sandbox import MAX_FILE_BYTES
from tests.sample_speech import sample_folder

ROOT = Path(__file__).resolve().parents[2]
SECRET = "canary-51c0ffee"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecognitionClient]:
    for name in ("SPEECHPORTAL_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "ANYTHING_ELSE"):
        monkeypatch.setenv(name, SECRET)
    with RecognitionClient(scratch_dir=tmp_path / "scratch", stall_seconds=60) as client:
        client.ping()
        yield client


def pid_of(client: RecognitionClient) -> int:
    assert client.child_pid is not None
    return client.child_pid


def gone(pid: int, within: float = 10.0) -> bool:
    """Whether a process ends; one that nobody has waited for counts as ended."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_no_secret_is_in_its_environment(client: RecognitionClient) -> None:
    assert os.environ["SPEECHPORTAL_SECRET_KEY"] == SECRET
    environment = Path(f"/proc/{pid_of(client)}/environ").read_bytes()
    assert b"HOME=" in environment
    assert SECRET.encode() not in environment
    assert b"SPEECHPORTAL" not in environment


def test_its_files_and_privileges_are_limited_and_it_leaves_no_core(client: RecognitionClient) -> None:
    lines = Path(f"/proc/{pid_of(client)}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max file size"] == [str(MAX_FILE_BYTES)] * 2
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pid_of(client)}/status").read_text()


def test_it_has_no_network_wherever_the_system_lets_a_process_leave_it(client: RecognitionClient) -> None:
    unshare = shutil.which("unshare")
    assert unshare is not None
    permitted = subprocess.run([unshare, "--user", "--net", "true"], check=False, capture_output=True)
    own, others = (Path(f"/proc/{pid}/ns/net").readlink() for pid in (pid_of(client), "self"))
    assert (own != others) == (permitted.returncode == 0)
    if own != others:
        interfaces = Path(f"/proc/{pid_of(client)}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]


def test_a_file_that_cannot_be_recognised_leaves_it_alive(client: RecognitionClient, tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    before = client.child_pid
    for _ in range(2):
        with pytest.raises(EmptyFile):
            client.transcribe(tmp_path / "empty.mp3", Options())
    assert client.child_pid == before


def test_its_death_is_an_error_of_that_file_alone(client: RecognitionClient, tmp_path: Path) -> None:
    (tmp_path / "empty.mp3").touch()
    before = pid_of(client)

    def kill(_share: float) -> None:
        os.kill(before, signal.SIGKILL)

    with pytest.raises(EngineDied, match="killed") as died:
        client.transcribe(sample_folder() / "sample.wav", Options(), kill)
    assert not died.value.permanent
    with pytest.raises(EmptyFile):
        client.transcribe(tmp_path / "empty.mp3", Options())
    assert client.child_pid not in {None, before}


def test_a_hang_is_noticed_and_killed(tmp_path: Path) -> None:
    with RecognitionClient(scratch_dir=tmp_path, stall_seconds=2) as client:
        client.ping()
        hanging = pid_of(client)
        os.kill(hanging, signal.SIGSTOP)
        with pytest.raises(EngineStalled, match="said nothing"):
            client.ping()
        assert gone(hanging)
        client.ping()


def test_too_much_memory_ends_it(tmp_path: Path) -> None:
    with RecognitionClient(scratch_dir=tmp_path, memory_limit_bytes=32 << 20) as client:
        with pytest.raises(EngineDied, match="the limit is 32 MB"):
            client.transcribe(sample_folder() / "sample.wav", Options())
        assert client.child_pid is None


def test_who_is_told_about_progress_may_give_the_work_up(client: RecognitionClient) -> None:
    class CancelledError(Exception):
        pass

    def give_up(_share: float) -> None:
        raise CancelledError

    working = pid_of(client)
    with pytest.raises(CancelledError):
        client.transcribe(sample_folder() / "sample.wav", Options(), give_up)
    assert gone(working)


PARENT = """
import sys, time
from pathlib import Path
from batches.recognition.runtime.client import RecognitionClient
client = RecognitionClient(scratch_dir=Path(sys.argv[1]))
client.ping()
print(client.child_pid, flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert gone(child)


@pytest.mark.parametrize("end", [RecognitionClient.close, lambda client: os.kill(client.child_pid, 9)])
def test_what_it_wrote_goes_with_it(tmp_path: Path, end: Callable[[RecognitionClient], None]) -> None:
    scratch = tmp_path / "scratch"
    client = RecognitionClient(scratch_dir=scratch)
    client.ping()
    assert list(scratch.iterdir())
    end(client)
    client.close()
    assert list(scratch.iterdir()) == []
