"""The worker's side of recognition: decodes a file, hands it to an engine, and waits for its transcript.

Imports neither torch nor Django. The caller's ``on_progress`` is called about once a second, and may raise
in that moment to give the file up; no other file is affected.

An engine process that dies takes no file along. Each client that had a file in hand there tries it again,
alone at an engine. Only a file whose engine dies while it is alone raises EngineDied (or EngineStalled), for
its task to count an attempt.
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

from batches.recognition.errors import EngineDied, EngineStalled, EngineUnavailable, MediaError
from batches.recognition.options import Options
from batches.recognition.runtime import seats
from batches.recognition.runtime.link import EngineLink, EngineLost, Limits
from batches.recognition.runtime.pool import Endpoint
from batches.recognition.runtime.recordings import Recording
from batches.recognition.runtime.seats import Seat
from batches.recognition.transcript import Transcript

# Takes the share of the call that is done, 0..1. What it raises gives the file up.
OnProgress = Callable[[float], None]
# What tells one decoded file from another: path, time of change in ns, bytes, whether by channel, all tracks.
_Key = tuple[str, int, int, bool, bool]

_TICK = 1.0  # seconds between two calls of on_progress
_DECODED = 0.05  # share of a call that is done when the file is decoded
_CPU, _MOST_DECODERS = "cpu", 8  # the device of the CPU; ffmpeg processes for one file
_FILE = "file"  # the name of the one file of a connection
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _FileInHand:
    """A decoded file and, from its first call on, its seat and its connection."""

    key: _Key
    recording: Recording
    seat: Seat | None = None
    link: EngineLink | None = None

    def let_go(self) -> None:
        if self.link:
            self.link.close()
        if self.seat:
            self.seat.release()
        self.seat = self.link = None


class RecognitionClient:
    """Recognises files, one at a time, with the engines at ``endpoints``. Use it from one thread.

    Only :meth:`decode_ahead` may be called from another thread meanwhile. A file stays decoded, and at its
    engine, until :meth:`forget`, :meth:`close` or the next file. ``scratch``: the folder for decoded sound,
    by default the engines' own. Every method raises the errors of :mod:`batches.recognition.errors`.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], *, limits: Limits | None = None, scratch: Path | None = None
    ) -> None:
        self._endpoints = endpoints
        self._limits = limits or Limits()
        self._scratch = scratch or endpoints[0].folder
        self._numbers = itertools.count(1)
        self._in_hand: _FileInHand | None = None
        self._ahead: dict[_Key, Recording] = {}
        self._lock = threading.Lock()
        self.stage = ""  # what is being done, for those who show it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def engine_pid(self) -> int:
        """The id of the engine process that has the file in hand; 0 where none has."""
        return self._in_hand.link.pid if self._in_hand and self._in_hand.link else 0

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
    ) -> Transcript:
        """Words and segments of a media file, without speakers. ``alone``: with no other file in company."""
        call = {"call": "transcribe", "options": options.to_dict()}
        return self._recognise(path, options, call, on_progress, alone=alone)

    def add_speakers(
        self,
        path: Path,
        transcript: Transcript,
        options: Options,
        on_progress: OnProgress | None = None,
        *,
        alone: bool = False,
    ) -> Transcript:
        """The transcript with a speaker for every word, and segments that end where the speaker changes."""
        call = {"call": "add_speakers", "options": options.to_dict(), "transcript": transcript.to_dict()}
        return self._recognise(path, options, call, on_progress, alone=alone)

    def decode_ahead(self, path: Path, options: Options, progress: Callable[[float], None]) -> None:
        """Decode a file that :meth:`transcribe` will be called for. Raises MediaError."""
        key = _key(path, options)
        recording = self._decode(path, options, progress)
        with self._lock:
            self._ahead = {key: recording}

    def forget(self, path: Path) -> None:
        """Let go of a file: its decoded sound, and its place at an engine."""
        with self._lock:
            self._ahead = {key: value for key, value in self._ahead.items() if key[0] != str(path)}
        if self._in_hand and self._in_hand.key[0] == str(path):
            self._drop()

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._ahead.clear()
        self._drop()

    def _drop(self) -> None:
        if self._in_hand:
            self._in_hand.let_go()
        self._in_hand = None

    def _recognise(
        self,
        path: Path,
        options: Options,
        call: dict[str, Any],
        on_progress: OnProgress | None,
        *,
        alone: bool,
    ) -> Transcript:
        tick = self._tick(on_progress)
        file = self._take_in_hand(path, options, tick)
        started_again = False
        while True:
            try:
                return self._ask(file, call, tick, alone=alone)
            except EngineLost as lost:
                was_alone = file.seat is not None and file.seat.alone
                file.let_go()
                if lost.loading:
                    if started_again:
                        _blame(lost)
                    started_again = True
                    continue
                if was_alone:
                    _blame(lost)
                logger.warning(
                    "The engine process ended with several files in hand (%s); this one is tried alone.",
                    lost.reason,
                )
                alone = True
            except BaseException:
                if not (file.link and file.link.idle):
                    file.let_go()
                raise

    def _take_in_hand(self, path: Path, options: Options, tick: _Ticker) -> _FileInHand:
        key = _key(path, options)
        if self._in_hand and self._in_hand.key == key:
            return self._in_hand
        self._drop()
        with self._lock:
            recording = self._ahead.pop(key, None)
        if recording is None:
            recording = self._decode(path, options, lambda share: tick("decoding", share * _DECODED))
        self._in_hand = _FileInHand(key, recording)
        return self._in_hand

    def _decode(self, path: Path, options: Options, progress: Callable[[float], None]) -> Recording:
        """Decode a file, with no more processes of this machine than it has cores.

        Where a GPU recognises, decoding is what takes long, and free cores share a long file. On a CPU they
        have recognition to do.
        """
        most = 1 if self._endpoints[0].device == _CPU else _MOST_DECODERS
        folder = self._endpoints[0].folder
        with seats.decoding(folder, tick=lambda: progress(0.0), most=most) as processes:
            return Recording.decoded(path, options, self._scratch, progress, processes=processes)

    def _ask(self, file: _FileInHand, call: dict[str, Any], tick: _Ticker, *, alone: bool) -> Transcript:
        if file.seat and alone and not file.seat.alone:
            file.let_go()
        if file.seat is None:
            waiting = functools.partial(tick, "waiting", _DECODED)
            file.seat = seats.take(self._endpoints, alone=alone, tick=waiting)

        def after_decoding(stage: str, fraction: float) -> None:
            tick(stage, _DECODED + (1 - _DECODED) * fraction)

        if file.link is None:
            file.link = EngineLink(file.seat.endpoint, self._limits, after_decoding)
            sounds = file.recording.described()
            opening = {"id": next(self._numbers), "call": "open", "file": _FILE, "sounds": sounds}
            file.link.send(opening, file.recording.descriptors())
        seat, limits = file.seat, self._limits
        company = 1 if seat.alone else seat.endpoint.files_at_once
        seconds = (limits.base + limits.per_media_second * file.recording.seconds) * company
        request = {"id": next(self._numbers), "file": _FILE, **call}
        answer = file.link.call(request, after_decoding, seconds)
        tick.now("done", 1.0)
        return Transcript.from_dict(answer["transcript"])

    def _tick(self, on_progress: OnProgress | None) -> _Ticker:
        def report(stage: str, share: float) -> None:
            self.stage = stage
            if on_progress:
                on_progress(share)

        return _Ticker(report)


class _Ticker:
    """Calls ``report`` once a second at most, with the stage and the share of the call that is done."""

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
    """Raise the error of a file that was alone, or of an engine that had not begun with it."""
    if lost.loading:
        raise EngineUnavailable(
            f"The engine process ended before it began: {lost.reason}.", reason=lost.reason
        ) from lost
    if lost.stalled:
        raise EngineStalled(lost.stalled) from lost
    raise EngineDied(
        f"The engine process ended while {lost.stage}: {lost.reason}.", reason=lost.reason
    ) from lost


def _key(path: Path, options: Options) -> _Key:
    try:
        status = path.stat()
    except OSError as error:
        raise MediaError(f"The file cannot be opened: {error.strerror}.") from error
    return (str(path), status.st_mtime_ns, status.st_size, options.channels, options.all_tracks)
