"""Guarded transport: the connections of every outbound HTTP request.

Webhooks, callbacks and fetches by URL use it through :mod:`speechportal.outbound.client`; boto3's
connections to S3 servers use it through :mod:`speechportal.storage.backends.s3_guard`. Both mix
:class:`GuardedConnection` into a connection class of urllib3. One :class:`Exchange` guards each request:

- the name is resolved once; all of its addresses are checked against the policy, and the socket connects to a
  checked one, which prevents DNS rebinding;
- one deadline covers the exchange, from name resolution to the last byte, however slowly the server sends;
- the bytes that the server sends are counted, and the exchange ends when they exceed the limit.
"""

from __future__ import annotations

import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from speechportal.outbound.addresses import Address, Network, is_allowed
from speechportal.outbound.errors import (
    AddressNotAllowed,
    AnswerTooLarge,
    ConnectionFailed,
    NameNotFound,
    OutboundError,
    TimedOut,
)

Resolver = Callable[[str, int], list[str]]
PORTS = frozenset({80, 443, 8080, 8443, 9000})
EVERYWHERE: tuple[Network, ...] = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def resolve(host: str, port: int) -> list[str]:
    """Resolve a host with the system's resolver, keeping its order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@dataclass(frozen=True)
class Policy:
    """Policy of the operator: what is allowed beyond public addresses over HTTPS.

    Args:
        networks: Networks that are allowed although they are not public.
        http: Whether unencrypted connections are allowed.
        ports: Allowed ports; ``None``: any.
        ca_file: Certificate authorities to trust instead of the system's.
        resolver: Function that resolves names.
    """

    networks: tuple[Network, ...] = ()
    http: bool = False
    ports: frozenset[int] | None = PORTS
    ca_file: str | None = None
    resolver: Resolver = field(default=resolve, repr=False)

    @classmethod
    def allowing(
        cls,
        networks: Iterable[str],
        *,
        http: bool = False,
        ports: Iterable[int] | None = PORTS,
        ca_file: str | None = None,
    ) -> Policy:
        """Make a policy from the values of settings. Raises ValueError for an invalid network."""
        allowed = None if ports is None else frozenset(ports)
        return cls(tuple(map(ipaddress.ip_network, networks)), http, allowed, ca_file)


class Deadline:
    """Deadline of an exchange. Sockets that are still in use then are shut down.

    Unlike a socket's own timeout, it does not restart with each byte.
    """

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

    def extend(self, seconds: float) -> None:
        """Move the deadline to ``seconds`` from now, if that is later."""
        self._end = max(self._end, time.monotonic() + seconds)

    def restart(self, seconds: float) -> None:
        """Move the deadline to ``seconds`` from now, earlier or later."""
        self._end = time.monotonic() + seconds
        if self._handle is not None and not self.passed:
            if self._timer is not None:
                self._timer.cancel()
            self._start(seconds)

    def watch(self, connected: socket.socket) -> None:
        self.close()
        self._handle = connected.dup() if not isinstance(connected, ssl.SSLSocket) else _dup(connected)
        self._start(self.remaining())

    def _start(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        if (left := self._end - time.monotonic()) > 0:  # It was extended.
            self._start(left)
            return
        self.passed = True
        if self._handle is not None:
            with suppress(OSError):  # The peer has closed it already.
                self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._handle is not None:
            self._handle.close()
        self._timer = self._handle = None


def _dup(connected: ssl.SSLSocket) -> socket.socket:
    """Duplicate a TLS connection's socket as a plain one, since ``SSLSocket.dup`` is not implemented."""
    return socket.socket(fileno=socket.dup(connected.fileno()))


@dataclass
class Exchange:
    """One request and its response: the policy, the deadline, and the limit of received bytes."""

    policy: Policy
    deadline: Deadline
    limit: int
    received: int = 0

    def count(self, size: int) -> None:
        """Count received bytes. Raises AnswerTooLarge above the limit."""
        self.received += size
        if self.received > self.limit:
            raise AnswerTooLarge(limit=self.limit)

    def close(self) -> None:
        self.deadline.close()


_current: ContextVar[Exchange] = ContextVar("exchange")


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[Exchange]:
    """Context manager: guards the requests made inside. Their responses may be read after it has ended."""
    token = _current.set(exchange)
    try:
        yield exchange
    finally:
        _current.reset(token)


def checked_addresses(host: str, port: int, policy: Policy, deadline: Deadline) -> list[Address]:
    """Resolve a host and check all of its addresses; one that is not allowed refuses the host.

    Raises NameNotFound, AddressNotAllowed, TimedOut.
    """
    answer: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(policy.resolver(host, port))
        except (OSError, ValueError) as error:  # getaddrinfo raises ValueError for an invalid label.
            answer.put(error)

    # The system's resolver has no timeout, so its thread is abandoned if it takes too long.
    threading.Thread(target=ask, name="outbound-resolver", daemon=True).start()
    try:
        found = answer.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimedOut from None
    if isinstance(found, Exception) or not found:
        raise NameNotFound(host=host) from (found if isinstance(found, Exception) else None)
    addresses = [ipaddress.ip_address(address) for address in found]
    for address in addresses:
        if not is_allowed(address, policy.networks):
            raise AddressNotAllowed(host=host)
    return addresses


def connect(
    host: str, port: int, policy: Policy, deadline: Deadline, options: Iterable[tuple[int, int, int]] = ()
) -> socket.socket:
    """Connect to one of the host's checked addresses; shut down at the deadline. Raises OutboundError."""
    addresses = checked_addresses(host, port, policy, deadline)
    last: OSError = ConnectionError("no address")
    for index, address in enumerate(addresses):
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in options:
                plain.setsockopt(*option)
            # Each address gets an equal share of the remaining time.
            plain.settimeout(deadline.remaining() / (len(addresses) - index))
            plain.connect((str(address), port))
            plain.settimeout(deadline.remaining())
            deadline.watch(plain)
        except OSError as error:
            plain.close()
            last = error
        except OutboundError:
            plain.close()
            raise
        else:
            return plain
    if isinstance(last, TimeoutError):
        raise TimedOut from last
    raise ConnectionFailed(reason=last.strerror or type(last).__name__) from last


class GuardedConnection:
    """Mixin for connection classes of urllib3 that applies the policy and limits of the current exchange.

    Raises :class:`OutboundError` while connecting and for a response that is too large. A connection that is
    cut off at the deadline fails as if the server had closed it; ``deadline.passed`` shows the difference.
    """

    host: str
    port: int
    sock: socket.socket | None
    response_class: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        exchange = _current.get()
        return connect(
            self.host.strip("[]"), self.port, exchange.policy, exchange.deadline, self.socket_options or ()
        )

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # A kept-alive connection, or one made beforehand.
            _current.get().deadline.watch(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc] # method of the class that uses this mixin

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        exchange, response_class = _current.get(), self.response_class

        def counted(*args: Any, **kwargs: Any) -> Any:
            response = response_class(*args, **kwargs)
            response.fp = io.BufferedReader(_CountedStream(response.fp.detach(), exchange))
            return response

        self.response_class = counted
        try:
            return super().getresponse(*args, **kwargs)  # type: ignore[misc] # likewise
        finally:
            self.response_class = response_class


class _CountedStream(io.RawIOBase):
    """Stream that counts the bytes a server sends. http.client closes it at the end of the response."""

    def __init__(self, raw: io.RawIOBase, exchange: Exchange) -> None:
        self._raw = raw
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        try:
            size = self._raw.readinto(buffer)
        except OSError:
            if self._exchange.deadline.passed:
                raise TimedOut from None
            raise
        if not size:  # A response without a length that is cut off at the deadline looks complete.
            self._exchange.deadline.remaining()
        self._exchange.count(size or 0)
        return size

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            self._exchange.close()
        super().close()


@lru_cache(maxsize=8)
def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """TLS context: version 1.2 or later, with the system's authorities or those of ``ca_file``."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
