"""`EngineLink`: a client's connection to one engine process, one call at a time, with a watchdog.

Raises :class:`EngineLost` if the process ends during a call, including when the watchdog ended it because the
call made no progress.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from batches.recognition.errors import EngineUnavailable, RecognitionError
from batches.recognition.runtime.engine_process import NO_MEMORY
from batches.recognition.runtime.oom_kills import KERNEL_KILL
from batches.recognition.runtime.pool import Endpoint
from batches.recognition.runtime.protocol import VERSION, Channel, ChannelClosed, Message
from batches.recognition.transcript import OnSegments, Segment

# Called several times a second with the stage and the completed share of the call. May raise.
Tick = Callable[[str, float], None]

_WAIT_SECONDS = 0.25  # for a message, between two ticks
_PAUSE_SECONDS = 0.1  # between two attempts
_REASON_SECONDS = 5.0  # to wait for the owner's report of why an engine process ended
_CANCEL_SECONDS = 2.0  # to wait for the engine to cancel a call
_LOADING = "loading models"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Timeouts of the watchdog, in seconds."""

    stall: float = 300.0  # without progress with the file
    start: float = 180.0  # from the connection to the first message of the engine process
    base: float = 1800.0  # for any call, and besides ...
    per_media_second: float = 10.0  # ... for each second that the recording lasts, times the files at once


class EngineLost(Exception):
    """The engine process ended in the middle of a call.

    ``stalled`` is the reason if the watchdog ended it because of this call.
    """

    def __init__(self, reason: str, *, stage: str, stalled: str = "") -> None:
        super().__init__(reason)
        self.reason, self.stage, self.stalled = reason, stage, stalled

    @property
    def loading(self) -> bool:
        """Whether the process had not started the file yet."""
        return self.stage in {"", _LOADING}

    @property
    def lacked_memory(self) -> bool:
        """Whether the machine had no memory left for the process."""
        return self.reason in {KERNEL_KILL, NO_MEMORY}


class EngineLink:
    """Connection to one engine process.

    The constructor waits for the process's first message, and raises EngineUnavailable after a timeout.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits, tick: Tick) -> None:
        self._endpoint, self._limits = endpoint, limits
        self.pid = 0
        self.idle = True  # no call is under way
        self._channel = self._connect(tick)

    def close(self) -> None:
        """Close the connection; the engine process then releases the file."""
        self._channel.close()

    def _connect(self, tick: Tick) -> Channel:
        end = time.monotonic() + self._limits.start
        while True:
            try:
                channel = Channel(self._endpoint.connect(), takes_descriptors=False)
            except OSError as error:
                raise EngineUnavailable("The process that runs the engine has ended.") from error
            try:
                self._greet(channel, tick, end)
            except ChannelClosed:  # the process ended first; its successor accepts the next try
                channel.close()
                tick("starting", 0.0)
                time.sleep(_PAUSE_SECONDS)
            except BaseException:
                channel.close()
                raise
            else:
                return channel

    def _greet(self, channel: Channel, tick: Tick, end: float) -> None:
        while (message := channel.receive(_WAIT_SECONDS)) is None:
            tick("starting", 0.0)
            if time.monotonic() > end:
                ends = self._endpoint.ends()
                reason = ends[-1]["reason"] if ends else "it does not answer"
                raise EngineUnavailable(f"The engine process does not start: {reason}.", reason=reason)
        if message.content.get("hello") != VERSION:
            raise EngineUnavailable("The engine process is of another version; restart the portal.")
        self.pid = int(message.content["pid"])

    def send(self, content: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message without a response. If the process has ended, the next call detects it."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send(content, descriptors)

    def call(
        self,
        request: dict[str, Any],
        tick: Tick,
        seconds: float = 0.0,
        on_segments: OnSegments | None = None,
    ) -> dict[str, Any]:
        """Send a request and return its response. Raises the engine's error, and EngineLost.

        ``seconds`` is the time limit, excluding the wait for other files; 0 for none. ``on_segments`` is
        called with segments that the engine sends before its response. An exception from ``tick`` or
        ``on_segments`` cancels the call.
        """
        self.idle = False
        self.send(request)
        watch = _Watch(self._limits, seconds)
        try:
            while True:
                message = self._channel.receive(_WAIT_SECONDS)
                if message and message.content.get("id") == request["id"]:
                    answer = self._answer(message, watch, on_segments)
                    if answer is not None:
                        return answer
                tick(watch.stage or "starting", watch.fraction)
                if overdue := watch.overdue():
                    self._have_ended()
                    self._lose(tick, watch, overdue)
        except ChannelClosed:
            self._lose(tick, watch)
        except EngineLost:
            raise
        except BaseException:
            if not self.idle:
                self._cancel(request["id"])
            raise

    def _answer(
        self, message: Message, watch: _Watch, on_segments: OnSegments | None
    ) -> dict[str, Any] | None:
        content = message.content
        if "error" in content:
            self.idle = True
            raise RecognitionError.from_dict(content["error"])
        if content.get("done"):
            self.idle = True
            return content
        watch.note(str(content.get("stage", "")), float(content.get("fraction", 0.0)))
        if "segments" in content and on_segments:
            segments = [Segment.from_dict(each) for each in content["segments"]]
            on_segments(int(content["first"]), segments, str(content["language"]))
        return None

    def _cancel(self, number: int) -> None:
        """Cancel the call at the engine, and wait briefly for the confirmation."""
        with contextlib.suppress(ChannelClosed):
            self._channel.send({"id": 0, "call": "cancel", "request": number})
            end = time.monotonic() + _CANCEL_SECONDS
            while (left := end - time.monotonic()) > 0:
                message = self._channel.receive(left)
                if message and message.content.get("id") == number and "stage" not in message.content:
                    return

    def _have_ended(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the owner is then not informed
            self._endpoint.ask_to_end(self.pid)

    def _lose(self, tick: Tick, watch: _Watch, stalled: str = "") -> NoReturn:
        """Raise EngineLost with the reason reported by the owner."""
        end = time.monotonic() + _REASON_SECONDS
        while not (reason := self._endpoint.end_of(self.pid)) and time.monotonic() < end:
            tick(watch.stage or "starting", watch.fraction)
            time.sleep(_PAUSE_SECONDS)
        raise EngineLost(reason or "its owner gave no reason", stage=watch.stage, stalled=stalled)


class _Watch:
    """Watchdog: detects a call without progress or over its time limit, excluding waits for other files."""

    def __init__(self, limits: Limits, seconds: float) -> None:
        self._limits, self._seconds = limits, seconds
        self._started = self._moved = time.monotonic()
        self.stage, self.fraction = "", 0.0

    def note(self, stage: str, fraction: float) -> None:
        if stage == "waiting":
            self._started = self._moved = time.monotonic()
        elif (stage, fraction) != (self.stage, self.fraction):
            self._moved = time.monotonic()
        self.stage, self.fraction = stage, fraction

    def overdue(self) -> str:
        """Reason why the call is overdue, as a sentence; empty if it is not."""
        now = time.monotonic()
        if now - self._moved > self._limits.stall:
            return f"Recognition made no progress for {self._limits.stall:.0f} seconds while {self.stage}."
        if self._seconds and now - self._started > self._seconds:
            return f"Recognition took longer than the {self._seconds:.0f} seconds it may take."
        return ""
