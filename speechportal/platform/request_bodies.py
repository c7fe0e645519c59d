"""Request bodies: limits, chunked transfer encoding, and slow senders.

A WSGI application around Django's, so that the limits hold before anything is read or spooled:

- a body longer than the limit of its address is refused (413), whether its length is given or not;
- ``Transfer-Encoding: chunked`` works wherever a length does, within the same limit. Small bodies are read
  here, so that their length is known; those of files are handed on as a stream;
- a sender that pauses for :data:`PAUSE_SECONDS`, or falls below :data:`SLOWEST_BYTES` a second on the whole,
  is cut off: it would hold a thread.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
MIB = 1024 * 1024
ENVELOPE = MIB  # what a multipart body has beside its file
FILE_ADDRESSES = re.compile(r"/(?:connections/file|external/v1|recog/v1|v1/audio|openai/[^/]+/v1/audio)/")
STREAMED = "speechportal.streamed_body"  # in the environment: the length is a limit, and not the length
FREE_SECONDS, SLOWEST_BYTES = 60.0, 4 * 1024
PAUSE_SECONDS = 30.0
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]


class BodyRefused(OSError):
    """The body comes too slowly. Django reports this and its kind as an unreadable POST."""


class BodyTooLarge(BodyRefused):
    """The body is longer than its limit."""


class _Bounded(io.RawIOBase):
    """A body that raises `BodyTooLarge` at its limit, and `BodyRefused` when it comes too slowly."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream, self._left = stream, limit
        self._began, self._read = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        # One byte more than is left tells a body of exactly the limit from one beyond it.
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        return self._count(self._stream.read(wanted))

    def readline(self, size: int | None = -1) -> bytes:
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        return self._count(self._stream.readline(wanted))

    def _count(self, data: bytes) -> bytes:
        self._left -= len(data)
        self._read += len(data)
        if self._left < 0:
            raise BodyTooLarge("the body is longer than its limit")
        if time.monotonic() - self._began > FREE_SECONDS + self._read / SLOWEST_BYTES:
            raise BodyRefused("the body comes too slowly")
        return data


class BoundedBodies:
    """The WSGI application ``application``, with bounded bodies."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_file = FILE_ADDRESSES.match(environ.get("PATH_INFO", "")) is not None
        limit = settings.MAX_MEDIA_BYTES + ENVELOPE if is_file else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        _limit_pauses(environ)
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            if not environ.get("wsgi.input_terminated"):
                return _refuse(start_response, "411 Length Required", "Send a Content-Length.")
            try:
                _unchunk(environ, limit, is_file=is_file)
            except OSError as error:
                return _refuse(start_response, "413 Content Too Large", f"{error}.")
        else:
            length = environ.get("CONTENT_LENGTH") or "0"
            if not (length.isascii() and length.isdigit()):
                return _refuse(start_response, "400 Bad Request", "The Content-Length is no number.")
            if int(length) > limit:
                return _refuse(start_response, "413 Content Too Large", f"The limit is {limit} bytes.")
            environ["wsgi.input"] = _Bounded(environ["wsgi.input"], limit)
        return self._application(environ, start_response)


def _unchunk(environ: Environ, limit: int, *, is_file: bool) -> None:
    """Give a chunked body a length: its own, or for a file that is streamed its limit. Raises OSError."""
    stream = _Bounded(environ["wsgi.input"], limit)
    if is_file:
        environ[STREAMED] = True
        # Readers stop at the length: only one that reads on beyond the limit notices that it was passed.
        environ["CONTENT_LENGTH"] = str(limit + 1)
        environ["wsgi.input"] = stream
        return
    data = bytearray()
    while part := stream.read(64 * 1024):
        data += part
    environ["CONTENT_LENGTH"] = str(len(data))
    environ["wsgi.input"] = io.BytesIO(data)


def _limit_pauses(environ: Environ) -> None:
    """gunicorn hands over the connection's socket; a read that waits longer than this ends the request."""
    if (connection := environ.get("gunicorn.socket")) is not None:
        connection.settimeout(PAUSE_SECONDS)


def _refuse(start_response: Callable[..., Any], status: str, sentence: str) -> Iterable[bytes]:
    body = f"{sentence}\n".encode()
    start_response(status, [*HEADERS, ("Content-Length", str(len(body)))])
    return [body]
