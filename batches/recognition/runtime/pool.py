"""`EnginePool`: the engine processes of one machine, supervised by the process that owns them.

The owner is the recognition cluster's main process, or any program that recognises files itself. Workers are
clients: a killed worker does not affect the engines, and a dead engine does not affect the workers. When the
owner ends, for whatever reason, the kernel ends the engine processes.

Owner and clients share one folder of mode 0700:

=====================  =================================================================
``engine-0.sock``      listening socket of engine 0, opened by the owner and inherited by the engine
``engine-0.gate``      locks, see :mod:`batches.recognition.runtime.engine_slots`
``engine-0.slot-0`` …
``decoding-0`` …       locks, one for each core that decodes
``engine-0.ends``      why the last processes of engine 0 ended, by process id
``engine-0.stalled``   process id that a client has requested to be ended
``engine-0/``          the engine process's home and scratch folder
``owner``              lock of the owner; a folder whose lock is free is removed by the next owner
=====================  =================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from batches.recognition.models.catalogue import DEFAULT_SPEAKERS, DEFAULT_WHISPER
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.models.store import default_folder
from batches.recognition.runtime.engine_process import EngineProcess
from batches.recognition.runtime.oom_kills import OomWatch
from batches.recognition.runtime.visible_devices import isolate

MEMORY_LIMIT_FILE = "memory-limit"  # in the engine's home: bytes, as a decimal number
logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5  # between two checks of the engine processes by the owner
_PREFIX = "speechportal-recognition-"
_OWNER = "owner"
_BACKLOG = 512  # connections that wait while an engine process starts
_KEPT_ENDS = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds of back-off before a restart, doubled each time
_STEADY_SECONDS = 30.0  # uptime after which the back-off is reset


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Configuration of an engine process.

    Models, ``threads`` and ``batch_size`` are as in :class:`batches.recognition.runtime.engine.Engine`, whose
    ``recogniser`` is ``engine`` here. Above ``memory_limit_bytes`` the process is ended; 0 for the limit that
    it computes from its models. ``gpu_memory_bytes`` limits its GPU memory for all models together.
    ``trusted_pipelines`` are speaker models whose code may be executed, ``readable`` models outside
    ``models_dir``. ``preload`` loads the models at the start of the process instead of with the first file.
    """

    models_dir: Path = field(default_factory=default_folder)
    whisper_model: str = DEFAULT_WHISPER
    speaker_model: str = DEFAULT_SPEAKERS
    threads: int = 1
    batch_size: int = 0
    engine: str = ""
    memory_limit_bytes: int = 0
    gpu_memory_bytes: int = DEFAULT_GPU_MEMORY
    trusted_pipelines: tuple[str, ...] = ()
    isolate: bool = True
    preload: bool = False
    readable: tuple[Path, ...] = ()

    def arguments(self, device: str) -> list[str]:
        """Command line arguments of :mod:`batches.recognition.runtime.server`."""
        return [
            f"--models-dir={self.models_dir.resolve()}",
            f"--whisper-model={self.whisper_model}",
            f"--speaker-model={self.speaker_model}",
            f"--threads={self.threads}",
            f"--batch-size={self.batch_size}",
            f"--device={device}",
            f"--engine={self.engine}",
            f"--gpu-memory={self.gpu_memory_bytes}",
            *(f"--trusted-pipeline={name}" for name in self.trusted_pipelines),
            *(["--preload"] if self.preload else []),
            *([] if self.isolate else ["--no-sandbox"]),
            *(f"--readable={path.resolve()}" for path in self.readable),
        ]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Endpoint of one engine for clients: its number within the pool, its device, and its slots for files."""

    folder: Path
    number: int
    device: str
    files_at_once: int

    def path(self, suffix: str) -> Path:
        return self.folder / f"engine-{self.number}{suffix}"

    def connect(self) -> socket.socket:
        """Connect to the engine, which accepts once its process runs. Raises OSError without an owner."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_path(self.path(".sock")) as address:
                connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection

    def end_of(self, pid: int) -> str:
        """Reason why the engine process with this PID ended; empty until the owner reports it."""
        for end in self.ends():
            if end["pid"] == str(pid):
                return end["reason"]
        return ""

    def ends(self) -> list[dict[str, str]]:
        """Latest exits of this engine's processes, oldest first."""
        try:
            found: list[dict[str, str]] = json.loads(self.path(".ends").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return found

    def ask_to_end(self, pid: int) -> None:
        """Request that the owner ends an engine process that does not respond."""
        _write(self.path(".stalled"), str(pid))


class EnginePool:
    """Pool with one engine per device; ``files_at_once`` is the number of files that each processes at once.

    The folder and the sockets exist from the start, so that forked workers inherit the endpoints. The
    processes start with the first :meth:`tick`, and end with the thread that calls it.
    """

    def __init__(
        self, config: EngineConfig, *, devices: Sequence[str], files_at_once: int, scratch: Path
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        _sweep(scratch)
        self._owner = os.getpid()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{self._owner}-", dir=scratch)).resolve()
        self._lock = _locked(self.folder)
        endpoints = (
            Endpoint(self.folder, number, device, files_at_once) for number, device in enumerate(devices)
        )
        self._engines = [_Engine(config, endpoint) for endpoint in endpoints]

    @property
    def endpoints(self) -> list[Endpoint]:
        return [engine.endpoint for engine in self._engines]

    @property
    def pids(self) -> list[int]:
        """PIDs of the running engine processes."""
        return [engine.process.pid for engine in self._engines if engine.process]

    @property
    def ends(self) -> list[dict[str, str]]:
        """Latest exits of engine processes: ``at`` (ISO 8601), ``device``, ``pid`` and ``reason``."""
        return [{**end, "device": engine.endpoint.device} for engine in self._engines for end in engine.ends]

    def tick(self) -> None:
        """Supervise the engine processes: start, restart and end them. Call it every :data:`TICK_SECONDS`."""
        for engine in self._engines:
            engine.tick()

    def close(self) -> None:
        """End the engine processes and remove the folder. Does nothing in a forked process."""
        if os.getpid() != self._owner:
            return
        for engine in self._engines:
            engine.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()

    @contextmanager
    def running(self) -> Iterator[Sequence[Endpoint]]:
        """Keep the engines running from a thread of this process."""
        stop = threading.Event()
        thread = threading.Thread(target=self._keep, args=(stop,), name="engine-pool", daemon=True)
        thread.start()
        try:
            yield self.endpoints
        finally:
            stop.set()
            thread.join()
            self.close()

    def _keep(self, stop: threading.Event) -> None:
        while True:
            try:
                self.tick()
            except OSError:
                logger.exception("The engine processes cannot be supervised.")
            if stop.wait(TICK_SECONDS / 5):
                return


class _Engine:
    """Engine of the pool: its listening socket, and its process if running."""

    def __init__(self, config: EngineConfig, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.process: EngineProcess | None = None
        self._config = config
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short_path(endpoint.path(".sock")) as address:
            self._listener.bind(address)
        self._listener.listen(_BACKLOG)
        # If workers inherited it, connections would wait for ever after the owner has ended.
        os.register_at_fork(after_in_child=self._listener.close)
        self._home = endpoint.path("")
        self._started = self._next_start = 0.0
        self._pause = 0.0
        self._oom = OomWatch()
        self.ends: list[dict[str, str]] = []

    def tick(self) -> None:
        now = time.monotonic()
        self._oom.look()
        if self.process is None:
            if now >= self._next_start:
                self._start(now)
            return
        self.process.read_log()
        if not self.process.running():
            self._note_end(self.process.exit_reason(oom_kill=self._oom.rose_lately()), now)
        elif (limit := self._memory_limit()) and (used := self.process.memory()) > limit:
            self._end(f"it used {used >> 20} MB of memory; the limit is {limit >> 20} MB", now)
        elif self._is_complained_of(self.process.pid):
            self._end("it made no progress with a file for too long", now)

    def _start(self, now: float) -> None:
        self._home.mkdir(exist_ok=True)
        device, only = isolate(self.endpoint.device, os.environ)
        self.process = EngineProcess(
            self._config.arguments(device),
            self._listener,
            threads=self._config.threads,
            home=self._home,
            environment={**os.environ, **only},
        )
        self._started = now

    def _memory_limit(self) -> int:
        """Memory limit in bytes: configured, or computed by the engine for its models; 0 for none."""
        if self._config.memory_limit_bytes:
            return self._config.memory_limit_bytes
        try:
            return int((self._home / MEMORY_LIMIT_FILE).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0  # nothing is loaded yet

    def _is_complained_of(self, pid: int) -> bool:
        path = self.endpoint.path(".stalled")
        try:
            asked = path.read_text(encoding="utf-8")
        except OSError:
            return False
        path.unlink(missing_ok=True)
        return asked == str(pid)

    def _end(self, reason: str, now: float) -> None:
        assert self.process is not None  # noqa: S101 - its callers have looked
        self.process.kill()
        self._note_end(reason, now)

    def _note_end(self, reason: str, now: float) -> None:
        assert self.process is not None  # noqa: S101 - its callers have looked
        self.process.close()
        logger.warning(
            "The engine process %d of %s ended: %s. Its last lines:\n%s",
            self.process.pid,
            self.endpoint.device,
            reason,
            self.process.log,
        )
        end = {
            "pid": str(self.process.pid),
            "reason": reason,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.ends = [*self.ends, end][-_KEPT_ENDS:]
        with contextlib.suppress(OSError):  # a full disk: clients then have no reason to report
            _write(self.endpoint.path(".ends"), json.dumps(self.ends))
        self.process = None
        steady = now - self._started > _STEADY_SECONDS
        # Exponential back-off: the first restart is immediate, further ones within a short time are delayed.
        self._next_start = now if steady else now + self._pause
        self._pause = 0.0 if steady else min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        shutil.rmtree(self._home, ignore_errors=True)

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.close()
            self.process = None
        self._listener.close()


def _write(path: Path, text: str) -> None:
    """Replace a file atomically."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """Path of at most 107 bytes, the limit of a Unix socket address."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _locked(folder: Path) -> IO[bytes]:
    """Make the owner's lock in its folder, which the kernel releases when the owner and its workers end."""
    draft = folder / f"{_OWNER}.draft"
    lock = draft.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    draft.rename(folder / _OWNER)  # From its first moment on it is locked.
    return lock


def _sweep(scratch: Path) -> None:
    """Remove the folders of ended owners."""
    for path in scratch.glob(f"{_PREFIX}*"):
        if _is_abandoned(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder's owner has ended. Its process id may be another program's, or another container's."""
    try:
        with (folder / _OWNER).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # It was killed at once, or is just being made.
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        return pid.isdigit() and not Path(f"/proc/{pid}").exists()
    except OSError:
        return False
    return True
