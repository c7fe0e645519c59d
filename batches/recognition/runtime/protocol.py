"""Protocol between workers and the engine process: length-prefixed JSON messages over a Unix socket.

Decoded audio is not copied: a message carries file descriptors beside its text (SCM_RIGHTS), and the receiver
maps the files. A worker numbers its requests and may send several at once:

    <- {"hello": 1, "pid": 4711}                                           the engine speaks first
    -> {"id": 1, "call": "open", "file": "a", "sounds": [{"label": "", "truncated": false}]}   + descriptors
    -> {"id": 2, "call": "transcribe", "file": "a", "options": {...}}
    <- {"id": 2, "stage": "recognising", "fraction": 0.4}                  about twice a second
    <- {"id": 2, "stage": "recognising", "fraction": 0.4, "first": 0, "segments": [...], "language": "ko"}
    <- {"id": 2, "done": true, "transcript": {...}}   or   {"id": 2, "error": {"code": ...}}
    -> {"id": 3, "call": "add_speakers", "file": "a", "transcript": {...}, "options": {...}}
    -> {"id": 4, "call": "cancel", "request": 3}               request 3 then answers {"cancelled": true}
    -> {"id": 5, "call": "close", "file": "a"}

"transcribe" with "live": true sends segments as soon as they are final. "ping" has an empty response. Closing
a connection cancels its requests and closes its files.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 2  # of this protocol; both ends must have the same
_HEADER = struct.Struct("!IB")  # bytes of text, number of descriptors
_MOST_BYTES = 512 << 20  # limit of one message: far above the transcript of six hours
_MOST_DESCRIPTORS = 16  # limit of one message
_READ_BYTES = 1 << 18
_INT = array.array("i").itemsize


class ChannelClosed(ConnectionError):
    """The peer has closed the connection or sent an invalid message."""


@dataclass(slots=True)
class Message:
    """Received message. The receiver owns its descriptors and must close them."""

    content: dict[str, Any]
    descriptors: list[int] = field(default_factory=list)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class Channel:
    """One end of a connection. ``send`` may be called from several threads, ``receive`` from one.

    ``send_seconds`` is the timeout for a receiver that does not read. ``takes_descriptors`` is False for the
    worker's end, so that a compromised engine process cannot exhaust the worker's file descriptors.
    """

    def __init__(
        self, connection: socket.socket, *, takes_descriptors: bool, send_seconds: float = 60.0
    ) -> None:
        self._socket = connection
        self._socket.setblocking(False)
        self._takes_descriptors = takes_descriptors
        self._send_seconds = send_seconds
        self._sending = threading.Lock()
        self._data = bytearray()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, content: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send one complete message. Raises ChannelClosed, also if the receiver does not read it in time."""
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
        rest = memoryview(_HEADER.pack(len(text), len(descriptors)) + text)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        end = time.monotonic() + self._send_seconds
        with self._sending:
            while rest:
                try:
                    sent = self._socket.sendmsg([rest[:_READ_BYTES]], ancillary if descriptors else [])
                except (BlockingIOError, InterruptedError):
                    if not self._writable(end - time.monotonic()):
                        self._hang_up()
                        raise ChannelClosed("the other end does not read") from None
                    continue
                except OSError as error:
                    raise ChannelClosed(str(error)) from error
                rest, ancillary = rest[sent:], []

    def _writable(self, seconds: float) -> bool:
        return seconds > 0 and bool(select.select([], [self._socket], [], seconds)[1])

    def receive(self, timeout: float | None = None) -> Message | None:
        """Receive the next message; None after ``timeout`` seconds. Raises ChannelClosed."""
        end = None if timeout is None else time.monotonic() + timeout
        while (message := self._next()) is None:
            seconds = None if end is None else max(0.0, end - time.monotonic())
            try:
                ready, _, _ = select.select([self._socket], [], [], seconds)
            except (OSError, ValueError) as error:  # closed by another thread
                raise ChannelClosed(str(error)) from error
            if not ready:
                return None
            self._read()
        return message

    def _read(self) -> None:
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * _INT) if self._takes_descriptors else 0
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(_READ_BYTES, space, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) - len(content) % _INT])
                self._descriptors.extend(numbers)
        if not data or (self._takes_descriptors and flags & socket.MSG_CTRUNC):
            raise ChannelClosed("the other end closed the connection")
        self._data += data

    def _next(self) -> Message | None:
        if len(self._data) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._data)
        if length > _MOST_BYTES or count > _MOST_DESCRIPTORS:
            raise ChannelClosed("the other end sent no message")
        if len(self._data) < _HEADER.size + length:
            return None
        text = bytes(self._data[_HEADER.size : _HEADER.size + length])
        del self._data[: _HEADER.size + length]
        if count > len(self._descriptors):
            raise ChannelClosed("the other end announced descriptors that it did not send")
        descriptors = [self._descriptors.popleft() for _ in range(count)]
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            content = error
        if not isinstance(content, dict):
            Message({}, descriptors).close()
            raise ChannelClosed("the other end sent no message")
        return Message(content, descriptors)

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end, waking a thread that waits in :meth:`receive`."""
        self._hang_up()
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
