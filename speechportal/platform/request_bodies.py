"""Request bodies: limits, chunked transfer encoding, and slow senders.

A WSGI application around Django's, so that the limits apply before anything is read or spooled:

- a body longer than the limit of its URL is refused (413), with or without a ``Content-Length``;
- ``Transfer-Encoding: chunked`` is accepted everywhere, within the same limit;
- bodies of forms and JSON are read completely here; file uploads are passed on as a stream;
- a body shorter than its ``Content-Length`` is refused (400), so that no form loses some of its fields;
- a sender that pauses for :data:`PAUSE_SECONDS`, or that is too slow by
  :mod:`speechportal.platform.slow_bodies`, is refused (408), since it would occupy a thread.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.conf import settings
from gunicorn.http.errors import ParseException

from speechportal.platform.slow_bodies import ArrivingBody

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
MIB = 1024 * 1024
ENVELOPE = MIB  # bytes of a multipart body besides its file
FILE_ADDRESSES = re.compile(r"/(?:connections/file|external/v1|recog/v1|v1/audio|openai/[^/]+/v1/audio)/")
STREAMED = "speechportal.streamed_body"  # key of the environment: CONTENT_LENGTH is only a limit
PIECE = 64 * 1024  # bytes of one read, so that the rate is measured while data arrives
PAUSE_SECONDS = 30.0


class BodyRefused(OSError):
    """The body cannot be read completely. Django turns it and its subclasses into UnreadablePostError."""

    status = "400 Bad Request"

    def __init__(self, sentence: str = "The body ended too early.") -> None:
        super().__init__(sentence)


class BodyTooSlow(BodyRefused):
    """The body arrives too slowly."""

    status = "408 Request Timeout"

    def __init__(self) -> None:
        super().__init__("The body came too slowly.")


class BodyTooLarge(BodyRefused):
    """The body is longer than its limit."""

    status = "413 Content Too Large"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The limit is {limit} bytes.")


class _Bounded(io.RawIOBase):
    """Stream of a body of at most ``limit`` bytes, or of exactly ``length``. Reads raise `BodyRefused`.

    ``arriving`` measures the rate; without it no waiting read is ended.
    """

    def __init__(self, stream: Any, limit: int, length: int | None, arriving: ArrivingBody | None) -> None:
        self._stream, self._limit, self._left = stream, limit, limit
        self._missing, self._arriving = length, arriving

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return b"".join(self._pieces(self._stream.read, size))

    def readline(self, size: int | None = -1) -> bytes:
        parts: list[bytes] = []
        for part in self._pieces(self._stream.readline, size):
            parts.append(part)
            if part.endswith(b"\n"):
                break
        return b"".join(parts)

    def _pieces(self, read: Callable[[int], bytes], size: int | None) -> Iterator[bytes]:
        # Reading one byte more than is left shows whether the body exceeds the limit.
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        while wanted > 0 and (part := self._piece(read, min(wanted, PIECE))):
            wanted -= len(part)
            yield part

    def _piece(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            with self._arriving.waiting() if self._arriving else contextlib.nullcontext():
                data = read(size)
        except TimeoutError as error:
            raise BodyTooSlow from error
        except (OSError, ParseException) as error:
            raise self._refusal() from error
        self._left -= len(data)
        if self._left < 0:
            raise BodyTooLarge(self._limit)
        if self._arriving:
            self._arriving.received += len(data)
        if self._missing is not None:
            self._missing -= len(data)
        if (self._arriving and self._arriving.ended) or (not data and self._missing):
            raise self._refusal()
        return data

    def _refusal(self) -> BodyRefused:
        return BodyTooSlow() if self._arriving and self._arriving.ended else BodyRefused()


class BoundedBodies:
    """WSGI middleware that applies the limits to the bodies of ``application``."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            _bound(environ)
        except BodyRefused as error:
            return _refuse(environ, start_response, error.status, str(error))
        except _LengthNeeded:
            return _refuse(environ, start_response, "411 Length Required", "Send a Content-Length.")
        return self._application(environ, start_response)


class _LengthNeeded(Exception):
    """The web server does not detect the end of a chunked body."""


def _bound(environ: Environ) -> None:
    """Read a small body completely, or limit the stream of a file. Raises BodyRefused, _LengthNeeded."""
    is_file = FILE_ADDRESSES.match(environ.get("PATH_INFO", "")) is not None
    limit = settings.MAX_MEDIA_BYTES + ENVELOPE if is_file else settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length: int | None = None
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        if not environ.get("wsgi.input_terminated"):
            raise _LengthNeeded
    else:
        given = environ.get("CONTENT_LENGTH") or "0"
        if not (given.isascii() and given.isdigit()):
            raise BodyRefused("The Content-Length is not a number.")
        if (length := int(given)) > limit:
            raise BodyTooLarge(limit)
    stream = _Bounded(environ["wsgi.input"], limit, length, _arriving(environ))
    if is_file:
        environ["wsgi.input"] = stream
        if length is None:
            environ[STREAMED] = True
            # Readers stop at CONTENT_LENGTH: one more than the limit reveals a body that is too long.
            environ["CONTENT_LENGTH"] = str(limit + 1)
        return
    data = stream.read(length) if length != 0 else b""
    environ["CONTENT_LENGTH"] = str(len(data)) if data or environ.get("CONTENT_LENGTH") else ""
    environ["wsgi.input"] = io.BytesIO(data)


def _arriving(environ: Environ) -> ArrivingBody | None:
    """Rate measurement for gunicorn's socket, with the timeout of a pause; ``None`` under other servers."""
    if (connection := environ.get("gunicorn.socket")) is None:
        return None
    connection.settimeout(PAUSE_SECONDS)
    return ArrivingBody(connection, settings.REQUEST_BODY_SECONDS)


def _refuse(
    environ: Environ, start_response: Callable[..., Any], status: str, sentence: str
) -> Iterable[bytes]:
    """Error response without the application: JSON (RFC 9457) below ``/api/``, otherwise plain text."""
    number, title = status.split(" ", 1)
    content_type, text = "text/plain; charset=utf-8", f"{sentence}\n"
    if environ.get("PATH_INFO", "").startswith("/api/"):
        code = "body_too_large" if number == "413" else "malformed_body"
        problem = {"type": f"urn:speechportal:problem:{code}", "title": title, "status": int(number)}
        content_type = "application/problem+json"
        text = json.dumps({**problem, "detail": sentence, "code": code})
    body = text.encode()
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
    start_response(status, headers)
    return [body]
