"""Start, watch and end one child process: its environment, its pipes, its memory.

``subprocess`` only: the worker that owns the child is a daemonic process, which may not use multiprocessing.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

# All that the child inherits. Everything else stays behind, whatever it is called: keys, passwords, tokens.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
_LOG_LINES = 200
_SOURCE_ROOT = Path(__file__).resolve().parents[3]


def clean_environment(threads: int, home: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of the child."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    return environment | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_SOURCE_ROOT),
        "PYTHONSAFEPATH": "1",  # the working directory is never imported from
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "NUMBA_NUM_THREADS": str(threads),
        "MPLCONFIGDIR": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYANNOTE_METRICS_ENABLED": "0",
    }


class ChildProcess:
    """A running child. ``home`` is its scratch folder, its home and its working directory."""

    def __init__(self, arguments: Sequence[str], *, threads: int, home: Path) -> None:
        self.owner = os.getpid()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "batches.recognition.runtime.child",
                f"--parent={self.owner}",
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=home,
            env=clean_environment(threads, home, os.environ),
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        self._partial: dict[str, bytes] = {"answers": b"", "log": b""}
        for name, stream in (("answers", self._process.stdout), ("log", self._process.stderr)):
            pipe = _required(stream)
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, name)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """The last lines that the child wrote to standard error."""
        return "\n".join(self._log)

    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, message: dict[str, Any]) -> None:
        """Hand over a request. Raises BrokenPipeError where the child has ended."""
        pipe = _required(self._process.stdin)
        pipe.write(json.dumps(message).encode() + b"\n")
        pipe.flush()

    def receive(self, timeout: float) -> list[dict[str, Any]]:
        """The messages that arrive within ``timeout`` seconds, at the first of them. Drains the log too."""
        messages: list[dict[str, Any]] = []
        for key, _ in self._selector.select(timeout):
            data = os.read(key.fd, 1 << 16)
            if not data:
                self._selector.unregister(key.fileobj)
                continue
            for line in self._lines(key.data, data):
                if key.data == "log":
                    self._log.append(line)
                else:
                    messages.append(json.loads(line))
        return messages

    def ended(self) -> bool:
        """Whether both pipes are closed, so that nothing can come any more."""
        return not self._selector.get_map()

    def _lines(self, name: str, data: bytes) -> Iterator[str]:
        *lines, rest = (self._partial[name] + data).split(b"\n")
        # A library that writes without ever ending its line must not fill our memory.
        self._partial[name] = rest if name == "answers" else rest[-4096:]
        return (line.decode(errors="replace") for line in lines)

    def memory(self) -> int:
        """Bytes of memory of the child and its ffmpeg that the kernel cannot take back."""
        return sum(_unreclaimable(pid) for pid in (self.pid, *_children(self.pid)))

    def kill(self) -> None:
        """End the child and all that it started. Does nothing in a process that only inherited it."""
        if os.getpid() != self.owner:
            return
        # The child leads a session and a process group of its own, which its ffmpeg is in.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):  # what is left in the pipes goes into the log
            while not self.ended() and self._selector.select(0):
                self.receive(0)
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                _required(pipe).close()

    def exit_reason(self) -> str:
        """Why an ended child ended, in words."""
        code = self._process.wait()
        if code >= 0:
            return f"it ended with status {code}"
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL:
            return "it was killed (SIGKILL), most likely because the machine ran out of memory"
        return f"it was ended by signal {name}"


def _required(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the child was started without pipes")
    return stream


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _unreclaimable(pid: int) -> int:
    """Anonymous and shared memory; pages of mapped files (weights, decoded sound) do not count."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
