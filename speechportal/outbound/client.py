"""The only way out over HTTP to an address that a user typed.

A name is resolved once, every address it leads to is judged, and the connection goes to one that was judged:
a name that changes its answer in between gains nothing. Only global addresses pass, unless the operator
allows a network. No redirect is followed, no proxy is taken from the environment, no content is decoded.
One deadline covers all of it, from the name to the last byte, however slowly the other side drips.

boto3 makes its own connections: :mod:`speechportal.storage.backends.s3_guard` does the same for them.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from speechportal.outbound.addresses import Address, Network, is_allowed
from speechportal.outbound.errors import (
    AddressNotAllowed,
    AnswerTooLarge,
    BadAnswer,
    BadUrl,
    ConnectionFailed,
    HttpsRequired,
    NameNotFound,
    NoTrust,
    OutboundError,
    PortNotAllowed,
    TimedOut,
    UnexpectedStatus,
)

__all__ = ["OutboundError", "Policy", "Response", "check_endpoint", "get", "post"]

Resolver = Callable[[str, int], list[str]]

PORTS = frozenset({80, 443, 8080, 8443, 9000})
USER_AGENT = "SpeechPortal/1"
_LONGEST_URL = 2048
_CHUNK = 64 * 1024
_OWN_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host by the system's resolver, in its order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Policy:
    """What the operator allows beyond global addresses over https."""

    networks: tuple[Network, ...] = ()  # reachable although they are not global
    http: bool = False  # whether unencrypted connections are allowed
    ports: frozenset[int] | None = PORTS  # None: any
    ca_file: str | None = None  # trusted instead of the system's authorities
    resolver: Resolver = field(default=resolve, repr=False)

    @classmethod
    def allowing(
        cls, networks: Iterable[str], *, http: bool = False, ports: Iterable[int] | None = PORTS
    ) -> Policy:
        """From what a setting holds. Raises ValueError for what is not a network."""
        return cls(
            tuple(map(ipaddress.ip_network, networks)), http, None if ports is None else frozenset(ports)
        )


STRICT = Policy()


@dataclass(frozen=True)
class Response:
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes  # as sent, not decoded; its beginning where truncated
    truncated: bool = False
    size: int = 0  # bytes of the body that were received


def check_endpoint(url: str, policy: Policy = STRICT, *, timeout: float = 5) -> None:
    """Refuse an address that a request would be refused for now. Raises OutboundError."""
    target = _parse(url, policy)
    _addresses(target, policy, _Deadline(timeout))


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 10,
    max_body: int = 64 * 1024,
    policy: Policy = STRICT,
) -> Response:
    """Send ``body``; any status is an answer, 3xx among them. Raises OutboundError.

    Of the answer at most ``max_body`` bytes are read; what follows is left unread.
    """
    with _request("POST", url, body, headers, timeout, policy) as answer:
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
    """Write what is found at ``url`` to ``file``. Raises OutboundError; the file may then hold a part.

    Any status but 200 is an error, as is a body of more than ``max_body`` bytes: nothing beyond is written.
    """
    with _request("GET", url, None, headers, timeout, policy) as answer:
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


# --- The address


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


def _addresses(target: _Target, policy: Policy, deadline: _Deadline) -> list[Address]:
    """Where the host leads to. One address that is not allowed refuses the host as a whole."""
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(policy.resolver(target.host, target.port))
        except (OSError, ValueError) as error:  # ValueError: a label that is no name, as getaddrinfo says it
            answer.put(error)

    # The system's resolver knows no deadline, so it is left behind where it takes too long.
    threading.Thread(target=ask, name="outbound-resolver", daemon=True).start()
    try:
        found = answer.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimedOut from None
    if isinstance(found, Exception) or not found:
        raise NameNotFound(host=target.host) from (found if isinstance(found, Exception) else None)
    addresses = [ipaddress.ip_address(address) for address in found]
    for address in addresses:
        if not is_allowed(address, policy.networks):
            raise AddressNotAllowed(host=target.host)
    return addresses


# --- The connection


class _Deadline:
    """One end of time for a request. Whatever still waits for the other side then is cut off."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._handle: socket.socket | None = None
        self._timer: threading.Timer | None = None
        self.passed = False

    def remaining(self) -> float:
        """Seconds left. Raises TimedOut."""
        if (left := self._end - time.monotonic()) <= 0 or self.passed:
            raise TimedOut
        return left

    def watch(self, connected: socket.socket) -> None:
        """Timeouts of sockets begin anew with each byte; this one does not."""
        self._handle = connected.dup()
        self._timer = threading.Timer(self.remaining(), self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self.passed = True
        if self._handle is not None:
            with suppress(OSError):  # The other side was faster.
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._handle is not None:
            self._handle.close()


class _Connection(http.client.HTTPConnection):
    """Connects to the addresses it is given and to no other."""

    def __init__(
        self, target: _Target, addresses: list[Address], policy: Policy, deadline: _Deadline
    ) -> None:
        # http.client leaves the port out of the Host header where it is the default of the class.
        self.default_port = 443 if target.scheme == "https" else 80
        super().__init__(target.host, target.port)
        self._target = target
        self._addresses = addresses
        self._context = _tls(policy.ca_file) if target.scheme == "https" else None
        self._deadline = deadline

    def connect(self) -> None:
        plain = self.sock = self._reach()
        self._deadline.watch(plain)
        if self._context is not None:
            self.sock = self._context.wrap_socket(plain, server_hostname=self._target.host.rstrip("."))

    def _reach(self) -> socket.socket:
        """A socket to the first address that answers; each may take its share of the time left."""
        last: OSError = ConnectionError("no address")
        for index, address in enumerate(self._addresses):
            family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                plain.settimeout(self._deadline.remaining() / (len(self._addresses) - index))
                plain.connect((str(address), self._target.port))
                plain.settimeout(self._deadline.remaining())
            except OSError as error:
                plain.close()
                last = error
            except OutboundError:
                plain.close()
                raise
            else:
                return plain
        raise last


@lru_cache(maxsize=8)
def _tls(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@contextmanager
def _request(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
    timeout: float,
    policy: Policy,
) -> Iterator[_Answer]:
    """Send a request and hand over its answer, of which the body is not read yet."""
    own = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Connection": "close"}
    if taken := _OWN_HEADERS & {name.lower() for name in headers or {}}:
        raise ValueError(f"set by the way out itself: {', '.join(sorted(taken))}")
    target = _parse(url, policy)
    deadline = _Deadline(timeout)
    with ExitStack() as stack:
        stack.callback(deadline.close)
        connection = _Connection(target, _addresses(target, policy, deadline), policy, deadline)
        stack.callback(connection.close)
        with _as_outbound_errors(deadline):
            with suppress(BrokenPipeError):  # It may have answered before it had read all.
                connection.request(method, target.path, body, {**own, **(headers or {})})
            response = stack.enter_context(connection.getresponse())
        yield _Answer(response, deadline)


class _Answer:
    def __init__(self, response: http.client.HTTPResponse, deadline: _Deadline) -> None:
        self.status = response.status
        self.headers: dict[str, str] = {}
        for name, value in response.getheaders():
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value
        self._response = response
        self._deadline = deadline

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come, as far as the other side has told."""
        return self._response.length

    def chunks(self, limit: int) -> Iterator[bytes]:
        """The body, up to ``limit`` bytes of it. What the reader does with them may fail in its own way."""
        left = limit
        while left > 0:
            with _as_outbound_errors(self._deadline):
                chunk = self._response.read1(min(_CHUNK, left))
                # Cut off at the deadline, a body without a length looks as if it had ended.
                self._deadline.remaining()
            if not chunk:
                return
            left -= len(chunk)
            yield chunk


@contextmanager
def _as_outbound_errors(deadline: _Deadline) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if deadline.passed or isinstance(error, TimeoutError):
            raise TimedOut from error
        if isinstance(error, ssl.SSLCertVerificationError):
            raise NoTrust(reason=error.verify_message) from error
        if isinstance(error, ssl.SSLError):
            raise NoTrust(reason=error.reason or "no TLS") from error
        if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
            raise BadAnswer(reason=type(error).__name__) from error
        raise ConnectionFailed(reason=getattr(error, "strerror", None) or type(error).__name__) from error
