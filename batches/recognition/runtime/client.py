"""Recognition client, used by workers: decodes a file, sends it to an engine, and waits for its transcript.

Imports neither torch nor Django. The caller's ``on_progress`` is called about once a second, and may raise to
cancel the file; no other file is affected.

If an engine process dies, each client with a file there retries it, alone at an engine. Only if the engine
dies while the file is alone is EngineDied (or EngineStalled) raised, which counts an attempt of its task; or
HostExhausted, which counts none, if the machine had no memory left for it.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from batches.recognition.errors import (
    EngineDied,
    EngineStalled,
    EngineUnavailable,
    HostExhausted,
    MediaError,
)
from batches.recognition.options import Options
from batches.recognition.runtime import engine_slots
from batches.recognition.runtime.engine_slots import EngineSlot
from batches.recognition.runtime.link import EngineLink, EngineLost, Limits
from batches.recognition.runtime.pool import Endpoint
from batches.recognition.runtime.recordings import Recording
from batches.recognition.transcript import OnSegments, Transcript

# Called with the completed share of the call, 0..1. An exception cancels the file.
OnProgress = Callable[[float], None]
# Cache key of a decoded file: path, mtime in ns, size in bytes, whether by channel, whether all tracks.
_Key = tuple[str, int, int, bool, bool]

_TICK = 1.0  # seconds between two calls of on_progress
_DECODED = 0.05  # share of a call's progress for decoding
_CPU, _MOST_DECODERS = "cpu", 8  # the device of the CPU; ffmpeg processes for one file
_FILE = "file"  # the name of the one file of a connection
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _CurrentFile:
    """Decoded file with, from its first call on, its slot and its connection."""

    key: _Key
    recording: Recording
    slot: EngineSlot | None = None
    link: EngineLink | None = None

    def release(self) -> None:
        if self.link:
            self.link.close()
        if self.slot:
            self.slot.release()
        self.slot = self.link = None


class RecognitionClient:
    """Client that recognises files, one at a time, with the engines at ``endpoints``. Not thread-safe.

    Only :meth:`decode_ahead` may be called from another thread. A file stays decoded, and at its engine,
    until :meth:`forget`, :meth:`close` or the next file. ``scratch`` is the folder for decoded audio, by
    default the engines' own. ``on_decoded`` is called after decoding with its start time, in seconds since
    1970. Every method raises the errors of :mod:`batches.recognition.errors`.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        limits: Limits | None = None,
        scratch: Path | None = None,
        on_decoded: Callable[[float], None] = lambda _begun: None,
    ) -> None:
        self._endpoints = endpoints
        self._limits = limits or Limits()
        self._on_decoded = on_decoded
        self._scratch = scratch or endpoints[0].folder
        self._numbers = itertools.count(1)
        self._current: _CurrentFile | None = None
        self._ahead: dict[_Key, Recording] = {}
        self._lock = threading.Lock()
        self.stage = ""  # current stage, for display

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def engine_pid(self) -> int:
        """PID of the engine process that has the file; 0 if there is none."""
        return self._current.link.pid if self._current and self._current.link else 0

    def ping(self) -> None:
        """Wait until an engine process answers."""
        tick = self._tick(None)
        link = EngineLink(self._endpoints[0], self._limits, tick)
        try:
            link.call({"id": next(self._numbers), "call": "ping"}, tick)
        except EngineLost as lost:
            _blame(lost)
        finally:
            link.close()

    def transcribe(
        self,
        path: Path,
        options: Options,
        on_progress: OnProgress | None = None,
        *,
        alone: bool = False,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        """Recognise a media file: words and segments, without speakers. ``alone``: without other files.

        ``on_segments`` is called with final segments while recognition runs; an exception from it cancels
        the file. Recognition is then slower, since chunks are processed in order of time.
        """
        call = {"call": "transcribe", "options": options.to_dict(), "live": on_segments is not None}
        return self._recognise(path, options, call, on_progress, alone=alone, on_segments=on_segments)

    def add_speakers(
        self,
        path: Path,
        transcript: Transcript,
        options: Options,
        on_progress: OnProgress | None = None,
        *,
        alone: bool = False,
    ) -> Transcript:
        """Diarize: return the transcript with a speaker for every word, split where the speaker changes."""
        call = {"call": "add_speakers", "options": options.to_dict(), "transcript": transcript.to_dict()}
        return self._recognise(path, options, call, on_progress, alone=alone)

    def decode_ahead(self, path: Path, options: Options, progress: Callable[[float], None]) -> None:
        """Decode a file before :meth:`transcribe` is called for it. Raises MediaError."""
        key = _key(path, options)
        recording = self._decode(path, options, progress)
        with self._lock:
            self._ahead = {key: recording}

    def forget(self, path: Path) -> None:
        """Release a file: its decoded audio and its slot at an engine."""
        with self._lock:
            self._ahead = {key: value for key, value in self._ahead.items() if key[0] != str(path)}
        if self._current and self._current.key[0] == str(path):
            self._drop()

    def close(self) -> None:
        """Release all files and connections."""
        with self._lock:
            self._ahead.clear()
        self._drop()

    def _drop(self) -> None:
        if self._current:
            self._current.release()
        self._current = None

    def _recognise(
        self,
        path: Path,
        options: Options,
        call: dict[str, Any],
        on_progress: OnProgress | None,
        *,
        alone: bool,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        tick = self._tick(on_progress)
        file = self._open(path, options, tick)
        started_again = False
        while True:
            try:
                return self._ask(file, call, tick, alone=alone, on_segments=on_segments)
            except EngineLost as lost:
                was_alone = file.slot is not None and file.slot.alone
                file.release()
                if lost.loading:
                    if started_again:
                        _blame(lost)
                    started_again = True
                    continue
                if was_alone:
                    _blame(lost)
                logger.warning(
                    "The engine process ended with several files in hand (%s); retrying this one alone.",
                    lost.reason,
                )
                alone = True
            except BaseException:
                if not (file.link and file.link.idle):
                    file.release()
                raise

    def _open(self, path: Path, options: Options, tick: _Ticker) -> _CurrentFile:
        key = _key(path, options)
        if self._current and self._current.key == key:
            return self._current
        self._drop()
        with self._lock:
            recording = self._ahead.pop(key, None)
        if recording is None:
            recording = self._decode(path, options, lambda share: tick("decoding", share * _DECODED))
        self._current = _CurrentFile(key, recording)
        return self._current

    def _decode(self, path: Path, options: Options, progress: Callable[[float], None]) -> Recording:
        """Decode a file, limiting the decoding processes of this machine to the number of its cores.

        With a GPU, decoding is the bottleneck, and free cores share a long file. On a CPU, the cores are
        needed for recognition.
        """
        most = 1 if self._endpoints[0].device == _CPU else _MOST_DECODERS
        folder = self._endpoints[0].folder
        begun = time.time()
        with engine_slots.decoding(folder, tick=lambda: progress(0.0), most=most) as processes:
            recording = Recording.decoded(path, options, self._scratch, progress, processes=processes)
        self._on_decoded(begun)
        return recording

    def _ask(
        self,
        file: _CurrentFile,
        call: dict[str, Any],
        tick: _Ticker,
        *,
        alone: bool,
        on_segments: OnSegments | None,
    ) -> Transcript:
        if file.slot and alone and not file.slot.alone:
            file.release()
        if file.slot is None:
            waiting = functools.partial(tick, "waiting", _DECODED)
            file.slot = engine_slots.take(self._endpoints, alone=alone, tick=waiting)

        def after_decoding(stage: str, fraction: float) -> None:
            tick(stage, _DECODED + (1 - _DECODED) * fraction)

        if file.link is None:
            file.link = EngineLink(file.slot.endpoint, self._limits, after_decoding)
            sounds = file.recording.described()
            opening = {"id": next(self._numbers), "call": "open", "file": _FILE, "sounds": sounds}
            file.link.send(opening, file.recording.descriptors())
        slot, limits = file.slot, self._limits
        company = 1 if slot.alone else slot.endpoint.files_at_once
        seconds = (limits.base + limits.per_media_second * file.recording.seconds) * company
        request = {"id": next(self._numbers), "file": _FILE, **call}
        answer = file.link.call(request, after_decoding, seconds, on_segments)
        tick.now("done", 1.0)
        return Transcript.from_dict(answer["transcript"])

    def _tick(self, on_progress: OnProgress | None) -> _Ticker:
        def report(stage: str, share: float) -> None:
            self.stage = stage
            if on_progress:
                on_progress(share)

        return _Ticker(report)


class _Ticker:
    """Throttle that calls ``report`` at most once a second, with the stage and the completed share."""

    def __init__(self, report: Callable[[str, float], None]) -> None:
        self._report = report
        self._last = 0.0

    def __call__(self, stage: str, share: float) -> None:
        if time.monotonic() - self._last >= _TICK:
            self.now(stage, share)

    def now(self, stage: str, share: float) -> None:
        self._last = time.monotonic()
        self._report(stage, share)


def _blame(lost: EngineLost) -> NoReturn:
    """Raise the error for a file that was alone, or for an engine that had not started the file."""
    if lost.loading:
        raise EngineUnavailable(
            f"The engine process ended before it began: {lost.reason}.", reason=lost.reason
        ) from lost
    if lost.stalled:
        raise EngineStalled(lost.stalled) from lost
    if lost.lacked_memory:
        raise HostExhausted(f"The engine process ended while {lost.stage}: {lost.reason}.") from lost
    raise EngineDied(
        f"The engine process ended while {lost.stage}: {lost.reason}.", reason=lost.reason
    ) from lost


def _key(path: Path, options: Options) -> _Key:
    try:
        status = path.stat()
    except OSError as error:
        raise MediaError(f"The file cannot be opened: {error.strerror}.") from error
    return (str(path), status.st_mtime_ns, status.st_size, options.channels, options.all_tracks)
