"""The parent's side of recognition: a child process that is kept warm, and replaced when it dies.

Imports neither torch nor Django. The caller is told about progress once a second and may raise in that
moment to give the work up.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from batches.recognition.errors import EngineDied, EngineStalled, RecognitionError
from batches.recognition.models.catalogue import DEFAULT_SPEAKERS, DEFAULT_WHISPER
from batches.recognition.models.store import default_folder
from batches.recognition.options import Options
from batches.recognition.runtime.child_process import ChildProcess
from batches.recognition.transcript import Transcript

# Takes the share of the call that is done, 0..1. What it raises gives the work up.
OnProgress = Callable[[float], None]

_TICK = 1.0  # seconds between two calls of on_progress
_PREFIX = "speechportal-recognition-"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Limits:
    """When to give a child up."""

    memory_bytes: int
    stall: float  # seconds without a word from the child
    base: float = 1800.0  # seconds for any call, and besides ...
    per_media_second: float = 10.0  # ... for each second that the recording lasts


class RecognitionClient:
    """Recognises files, one at a time, in a child process. Use it from one thread.

    The child starts with the first call and lives until :meth:`close`, until it dies, or until the thread
    that started it ends. ``models_dir``, ``whisper_model``, ``speaker_model`` and ``engine`` are as in
    :class:`batches.recognition.runtime.engine.Engine`. Above ``memory_limit_bytes`` of memory, or after
    ``stall_seconds`` without a word, the child is killed. Every method raises the errors of
    :mod:`batches.recognition.errors`.
    """

    def __init__(
        self,
        *,
        models_dir: Path | None = None,
        whisper_model: str = DEFAULT_WHISPER,
        speaker_model: str = DEFAULT_SPEAKERS,
        threads: int = 1,
        batch_size: int = 0,
        device: str = "auto",
        engine: str = "",
        memory_limit_bytes: int = 4 * 1024**3,
        stall_seconds: float = 300.0,
        scratch_dir: Path | None = None,
        isolate_network: bool = True,
    ) -> None:
        self._arguments = [
            f"--models-dir={(models_dir or default_folder()).resolve()}",
            f"--whisper-model={whisper_model}",
            f"--speaker-model={speaker_model}",
            f"--threads={threads}",
            f"--batch-size={batch_size}",
            f"--device={device}",
            f"--engine={engine}",
            *([] if isolate_network else ["--keep-network"]),
        ]
        self._threads = threads
        self._limits = _Limits(memory_limit_bytes, stall_seconds)
        self._scratch_root = scratch_dir or Path(tempfile.gettempdir())
        self._child: ChildProcess | None = None
        self._home: Path | None = None
        self._numbers = itertools.count(1)
        self.stage = ""  # what is being done, for those who show it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """The process id of the child, while there is one."""
        return self._child.pid if self._child else None

    def ping(self) -> None:
        """Start the child if there is none, and have it answer."""
        self._request({"call": "ping"}, 0, None)

    def transcribe(self, path: Path, options: Options, on_progress: OnProgress | None = None) -> Transcript:
        """Words and segments of a media file, without speakers."""
        request = {"call": "transcribe", "path": str(Path(path).absolute()), "options": options.to_dict()}
        return self._recognise(request, options, on_progress)

    def add_speakers(
        self, path: Path, transcript: Transcript, options: Options, on_progress: OnProgress | None = None
    ) -> Transcript:
        """The transcript with a speaker for every word, and segments that end where the speaker changes."""
        before = self._scratch() / f"before-{next(self._numbers)}.json"
        before.write_text(json.dumps(transcript.to_dict(), ensure_ascii=False))
        request = {
            "call": "add_speakers",
            "path": str(Path(path).absolute()),
            "options": options.to_dict(),
            "transcript": str(before),
        }
        try:
            return self._recognise(request, options, on_progress)
        finally:
            before.unlink(missing_ok=True)

    def close(self) -> None:
        """End the child and remove its scratch folder."""
        if self._child:
            self._child.kill()
            self._child = None
        if self._home and self._home.name.startswith(f"{_PREFIX}{os.getpid()}-"):
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def _recognise(
        self, request: dict[str, Any], options: Options, on_progress: OnProgress | None
    ) -> Transcript:
        result = self._scratch() / f"result-{next(self._numbers)}.json"
        try:
            self._request({**request, "result": str(result)}, options.max_duration_ms / 1000, on_progress)
            return Transcript.from_dict(json.loads(result.read_text()))
        finally:
            result.unlink(missing_ok=True)

    def _scratch(self) -> Path:
        """A folder of this process; those of processes that have ended are removed on the way."""
        if self._home is None or not self._home.is_dir() or self._inherited():
            self._scratch_root.mkdir(parents=True, exist_ok=True)
            _sweep(self._scratch_root)
            home = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=self._scratch_root)
            self._home = Path(home).resolve()
        return self._home

    def _inherited(self) -> bool:
        """Whether this object came here by a fork: its child then belongs to another process."""
        return self._child is not None and self._child.owner != os.getpid()

    def _running_child(self) -> ChildProcess:
        home = self._scratch()
        if self._inherited():
            self._child = None
        if self._child and not self._child.running():
            self._drop()
        if self._child is None:
            self._child = ChildProcess(self._arguments, threads=self._threads, home=home)
        return self._child

    def _drop(self) -> None:
        if self._child:
            self._child.kill()
            if self._child.log:
                logger.warning("The recognition process ended. Its last words:\n%s", self._child.log)
            self._child = None

    def _request(self, request: dict[str, Any], longest: float, on_progress: OnProgress | None) -> None:
        child = self._running_child()
        number = next(self._numbers)
        finished = False
        try:
            with contextlib.suppress(BrokenPipeError):  # the reason is found below
                child.send({"id": number, **request})

            def tell(stage: str, fraction: float) -> None:
                self.stage = stage
                if on_progress:
                    on_progress(fraction)

            _Watch(child, number, self._limits, longest, tell).until_done()
            finished = True
        except (EngineDied, EngineStalled):
            raise
        except RecognitionError:
            finished = True  # the child told it, and waits for the next file
            raise
        finally:
            if not finished:
                self._drop()


class _Watch:
    """Waits for one answer while keeping an eye on time and memory."""

    def __init__(
        self,
        child: ChildProcess,
        number: int,
        limits: _Limits,
        longest: float,
        tell: Callable[[str, float], None],
    ) -> None:
        self._child, self._number, self._limits = child, number, limits
        self._tell = tell
        self._started = self._heard = time.monotonic()
        self._told = 0.0
        self._budget = limits.base + limits.per_media_second * longest
        self._stage, self._fraction = "starting", 0.0

    def until_done(self) -> None:
        """Return when the child is done. Raises what the child reports, EngineDied or EngineStalled."""
        while True:
            for message in self._child.receive(timeout=_TICK / 4):
                self._heard = time.monotonic()
                if message.get("id") != self._number:
                    continue
                if "error" in message:
                    raise RecognitionError.from_dict(message["error"])
                if message.get("done"):
                    self._tell("done", 1.0)
                    return
                self._note(message)
            now = time.monotonic()
            if now - self._told >= _TICK:
                self._told = now
                self._check(now)
                self._tell(self._stage, self._fraction)
            if self._child.ended() or not self._child.running():
                self._drain()

    def _note(self, message: dict[str, Any]) -> None:
        self._stage, self._fraction = message["stage"], message["fraction"]
        if seconds := message.get("seconds"):
            self._budget = self._limits.base + self._limits.per_media_second * seconds

    def _drain(self) -> None:
        """The child has ended; an answer may still be in the pipe."""
        for message in self._child.receive(timeout=0):
            if message.get("id") == self._number and "error" in message:
                raise RecognitionError.from_dict(message["error"])
        reason = self._child.exit_reason()
        raise EngineDied(f"The recognition process died while {self._stage}: {reason}.", reason=reason)

    def _check(self, now: float) -> None:
        limits = self._limits
        if (used := self._child.memory()) > limits.memory_bytes:
            reason = f"it used {used >> 20} MB of memory; the limit is {limits.memory_bytes >> 20} MB"
            raise EngineDied(f"The recognition process was ended: {reason}.", reason=reason)
        if now - self._heard > limits.stall:
            raise EngineStalled(
                f"The recognition process said nothing for {limits.stall:.0f} seconds while {self._stage}."
            )
        if now - self._started > self._budget:
            raise EngineStalled(f"Recognition took longer than the {self._budget:.0f} seconds it may take.")


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        pid = path.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
