"""HTTP client for URLs that users entered, over the guarded transport.

Only public addresses are allowed, and networks that the operator allows. Redirects are not followed, proxies
of the environment are ignored, content is not decoded. See also :mod:`speechportal.outbound.transport`.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

from speechportal.outbound import web_budget
from speechportal.outbound.errors import (
    AnswerTooLarge,
    BadAnswer,
    BadUrl,
    ConnectionFailed,
    HttpsRequired,
    NoTrust,
    OutboundError,
    PortNotAllowed,
    TimedOut,
    UnexpectedStatus,
)
from speechportal.outbound.transport import (
    Deadline,
    Exchange,
    GuardedConnection,
    Policy,
    checked_addresses,
    exchanging,
    tls_context,
)

USER_AGENT = "SpeechPortal/1"
_LONGEST_URL = 2048
_CHUNK = 64 * 1024
_HEAD_BYTES = 512 * 1024  # limit of a response beside its body: headers, chunk sizes, 1xx responses
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
STRICT = Policy()


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # as sent, not decoded; may be truncated
    truncated: bool = False
    size: int = 0  # bytes of the body that were received


def check_endpoint(url: str, policy: Policy = STRICT, *, timeout: float = 5) -> None:
    """Check a URL without sending a request. Raises the OutboundError that a request would raise."""
    target = _parse(url, policy)
    seconds = web_budget.limited(timeout, target.host)
    checked_addresses(target.host, target.port, policy, Deadline(seconds))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 10,
    max_body: int = 64 * 1024,
    policy: Policy = STRICT,
) -> Response:
    """Send ``body`` and return the response, whatever its status, 3xx included. Raises OutboundError.

    At most ``max_body`` bytes of the response are read.
    """
    with _request("POST", url, body, headers, timeout, policy, max_body) as answer:
        data = b"".join(answer.chunks(max_body + 1))
        kept = data[:max_body]
        return Response(answer.status, answer.headers, kept, len(data) > max_body, len(kept))


def get(
    url: str,
    file: BinaryIO,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 600,
    max_body: int = 2 * 1024**3,
    policy: Policy = STRICT,
) -> Response:
    """Download ``url`` to ``file``. Raises OutboundError; the file may then hold a part.

    Any status but 200 is an error, and so is a body of more than ``max_body`` bytes; no more than that is
    written.
    """
    with _request("GET", url, None, headers, timeout, policy, max_body) as answer:
        if answer.status != http.HTTPStatus.OK:
            raise UnexpectedStatus(status=answer.status)
        if answer.length is not None and answer.length > max_body:
            raise AnswerTooLarge(limit=max_body)
        size = 0
        for chunk in answer.chunks(max_body + 1):
            size += len(chunk)
            if size > max_body:
                raise AnswerTooLarge(limit=max_body)
            file.write(chunk)
        if answer.length:
            raise BadAnswer(reason="it ends too early")
        return Response(answer.status, answer.headers, b"", size=size)


# --- URL


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str  # ASCII; an IPv6 address without brackets
    port: int
    path: str  # with the query, percent-encoded


def _parse(url: str, policy: Policy) -> _Target:
    if (
        not url
        or len(url) > _LONGEST_URL
        or any(letter.isspace() or not letter.isprintable() for letter in url)
    ):
        raise BadUrl
    if "\\" in url:
        raise BadUrl
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError is one
        raise BadUrl from error
    if parts.scheme not in {"http", "https"} or not host or "%" in host or "@" in parts.netloc:
        raise BadUrl
    if parts.scheme == "http" and not policy.http:
        raise HttpsRequired
    if port is None:
        port = 443 if parts.scheme == "https" else 80
    if port == 0 or (policy.ports is not None and port not in policy.ports):
        raise PortNotAllowed(port=port)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/?%:@!$&()*+,;=~-._')}" if parts.query else ""
    return _Target(parts.scheme, host, port, path + query)


# --- Request and response


class _Http(GuardedConnection, HTTPConnection):
    pass


class _Https(GuardedConnection, HTTPSConnection):
    pass


def _connection(target: _Target, policy: Policy) -> _Http | _Https:
    if target.scheme == "http":
        return _Http(target.host, target.port)
    return _Https(
        target.host,
        target.port,
        ssl_context=tls_context(policy.ca_file),
        cert_reqs="CERT_REQUIRED",
        server_hostname=target.host.rstrip("."),
    )


@contextmanager
def _request(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
    timeout: float,
    policy: Policy,
    max_body: int,
) -> Iterator[_Answer]:
    """Send a request and yield its response, whose body is not read yet."""
    own = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Connection": "close"}
    if taken := _OWN_HEADERS & {name.lower() for name in headers or {}}:
        raise ValueError(f"set by the client itself: {', '.join(sorted(taken))}")
    target = _parse(url, policy)
    seconds = web_budget.limited(timeout, target.host)
    exchange = Exchange(policy, Deadline(seconds), max_body + _HEAD_BYTES)
    with ExitStack() as stack:
        stack.callback(exchange.close)
        connection = _connection(target, policy)
        stack.callback(connection.close)
        with _as_outbound_errors(exchange.deadline):
            with exchanging(exchange):
                with suppress(BrokenPipeError):  # It may have responded before it had read everything.
                    connection.request(
                        method,
                        target.path,
                        body,
                        {**own, **(headers or {})},
                        preload_content=False,
                        decode_content=False,
                    )
                response = connection.getresponse()
            stack.callback(response.close)
        yield _Answer(response, exchange.deadline)


class _Answer:
    def __init__(self, response: BaseHTTPResponse, deadline: Deadline) -> None:
        self.status = response.status
        self.headers = {name.lower(): response.headers[name] for name in response.headers}
        self._response = response
        self._deadline = deadline

    @property
    def length(self) -> int | None:
        """Remaining bytes of the body; ``None`` if the server did not send its length."""
        return self._response.length_remaining

    def chunks(self, limit: int) -> Iterator[bytes]:
        """Yield up to ``limit`` bytes of the body as they arrive. The consumer's errors are not caught."""
        left = limit
        while left > 0:
            with _as_outbound_errors(self._deadline):
                chunk = self._response.read1(min(_CHUNK, left), decode_content=False)
                # A body without a length that is cut off at the deadline looks complete.
                self._deadline.remaining()
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


@contextmanager
def _as_outbound_errors(deadline: Deadline) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, HTTPError) as error:
        raise _outbound_error(error, deadline) from error


def _outbound_error(error: Exception, deadline: Deadline) -> OutboundError:
    """Convert a library's exception to an OutboundError; urllib3 wraps the cause in its own exceptions."""
    causes = [error, error.__cause__, *error.args]
    if deadline.passed or any(isinstance(each, TimeoutError) for each in causes):
        return TimedOut()
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return NoTrust(reason=each.verify_message)
        if isinstance(each, ssl.SSLError):
            return NoTrust(reason=each.reason or "no TLS")
    for each in causes:
        if isinstance(each, http.client.HTTPException | HTTPError) and not isinstance(each, OSError):
            if isinstance(each, ProtocolError) and any(isinstance(part, OSError) for part in causes):
                continue
            return BadAnswer(reason=type(each).__name__)
    reason = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), None)
    return ConnectionFailed(reason=reason or type(error).__name__)
