"""`EngineProcess`: starts, monitors and ends one engine process, with its environment, socket and log.

Uses ``subprocess``, since the owner may be a daemonic process, which may not use multiprocessing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from batches.recognition.runtime.memory import OUT_OF_MEMORY, unreclaimable
from batches.recognition.runtime.oom_kills import KERNEL_KILL
from batches.recognition.runtime.visible_devices import VISIBLE_DEVICES, device_order

# Allow list of the environment variables that the engine process inherits.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", VISIBLE_DEVICES, "NVIDIA_VISIBLE_DEVICES")
# Reason of an end, besides KERNEL_KILL, for want of memory.
NO_MEMORY = "the machine, or its limit of memory (ulimit -v), has no memory left for it"
_LOG_LINES = 200
_LONGEST_LINE = 4096  # bytes
_SOURCE_ROOT = Path(__file__).resolve().parents[3]


def clean_environment(threads: int, home: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Complete environment of an engine process."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    return environment | {
        **device_order(inherited),
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


class EngineProcess:
    """Running engine process. ``home`` is its scratch folder, its home and its working directory.

    It inherits what :func:`clean_environment` allows of ``environment``. The kernel ends it when the thread
    that created this object ends.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        listener: socket.socket,
        *,
        threads: int,
        home: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.owner = os.getpid()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._partial = b""
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "batches.recognition.runtime.server",
                f"--owner={self.owner}",
                f"--socket={listener.fileno()}",
                f"--home={home}",
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
            cwd=home,
            env=clean_environment(threads, home, environment),
            start_new_session=True,
        )
        os.set_blocking(_required(self._process.stderr).fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        """Last lines of the process's standard error."""
        return "\n".join(self._log)

    def running(self) -> bool:
        return self._process.poll() is None

    def read_log(self) -> None:
        """Drain the process's standard error, so that it never blocks on a full pipe."""
        pipe = _required(self._process.stderr)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(pipe.fileno(), 1 << 16):
                *lines, rest = (self._partial + data).split(b"\n")
                self._log.extend(line.decode(errors="replace") for line in lines)
                self._partial = rest[-_LONGEST_LINE:]

    def memory(self) -> int:
        """Unreclaimable memory of the process, in bytes."""
        return unreclaimable(self.pid)

    def kill(self) -> None:
        """Kill the process and its children. Does nothing in a forked copy of the owner."""
        if os.getpid() != self.owner:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads its own process group
        self._process.wait()

    def close(self) -> None:
        """Read the rest of the log after the process has ended."""
        with contextlib.suppress(OSError):
            self.read_log()
        _required(self._process.stderr).close()

    def exit_reason(self, *, oom_kill: bool = False) -> str:
        """Reason why the process ended, as text. ``oom_kill``: the kernel has just ended some process."""
        code = self._process.wait()
        if code == OUT_OF_MEMORY:
            return NO_MEMORY
        if code >= 0:
            return f"it ended with status {code}"
        if -code == signal.SIGKILL:
            return KERNEL_KILL if oom_kill else "it was killed (SIGKILL), though not for want of memory"
        return f"it was ended by signal {signal.Signals(-code).name}"


def _required(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the process was started without a pipe")
    return stream
