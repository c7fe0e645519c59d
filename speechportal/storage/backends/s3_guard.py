"""HTTP sessions of boto3 over the guarded transport (:mod:`speechportal.outbound.transport`).

An endpoint is checked before a store is opened, but boto3 would resolve its name again for each connection.
Here each connection goes to a checked address, each call has one deadline for all of its attempts, and each
response has a size limit: :data:`ANSWER_BYTES`, or a file's length after a call of
:meth:`GuardedSession.expect`.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import URLLib3Session

from speechportal.outbound import web_budget
from speechportal.outbound.errors import BadAnswer, UnexpectedStatus
from speechportal.outbound.transport import Deadline, Exchange, GuardedConnection, exchanging
from speechportal.storage.endpoints import policy

ANSWER_BYTES = 4 * 1024 * 1024  # limit of any response but a file, such as a listing or an error
ANSWER_TAGS = 100_000  # limit of its XML tags; a page of 1,000 entries has a quarter
HEAD_BYTES = 64 * 1024
CALL_SECONDS = 60.0  # deadline of a call with all of its attempts
SLOWEST_BYTES = 32 * 1024  # bytes of a file that extend the deadline by a second
_REDIRECTS = {301, 302, 303, 307, 308}


class _Http(GuardedConnection, AWSHTTPConnection):  # type: ignore[misc] # as in botocore's own class
    pass


class _Https(GuardedConnection, AWSHTTPSConnection):  # type: ignore[misc] # likewise
    pass


class _NoRedirects:
    """Mixin of connection pools: returns redirects; urllib3 prepares to follow a 303 even if it may not."""

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:
        return super().urlopen(*args, redirect=False, **kwargs)  # type: ignore[misc] # method of the pool's class


class _HttpPool(_NoRedirects, AWSHTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(_NoRedirects, AWSHTTPSConnectionPool):
    ConnectionCls = _Https


def _check_xml(content: bytes) -> None:
    """Refuse XML that takes far more memory once parsed than it has bytes. Raises BadAnswer."""
    if content.count(b"<") > ANSWER_TAGS:
        raise BadAnswer(reason="too many tags")
    if b"<!DOCTYPE" in content[:4096].upper():
        raise BadAnswer(reason="DOCTYPE")


class GuardedSession:
    """Sends botocore's requests over guarded connections, without a proxy; for all threads."""

    def __init__(self, *, connect_timeout: float, read_timeout: float) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        make: Any = URLLib3Session  # Its stubs know neither these arguments nor its manager.
        self._session = make(proxies={}, timeout=(connect_timeout, read_timeout), socket_options=options)
        self._session._manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}  # noqa: SLF001 - it has no argument for this; a test sees that it counts
        self._latest = threading.local()

    def answer(self, *, request: Any, **_kwargs: Any) -> Any:
        """Handle botocore's ``before-send`` event: send the request instead of botocore.

        Raises UnexpectedStatus for a redirect: botocore would follow it by requesting the region from the
        same server, endlessly. Raises BadAnswer for XML that would exhaust the memory of this process.
        """
        sent = int(request.headers.get("Content-Length") or 0)
        # One dictionary for all attempts of a call.
        end = request.context.setdefault(
            "speechportal_end", time.monotonic() + CALL_SECONDS + sent / SLOWEST_BYTES
        )
        host = urlsplit(request.url).hostname or ""
        left = web_budget.limited(end - time.monotonic(), host, sent=sent / SLOWEST_BYTES)
        exchange = Exchange(policy(), Deadline(left), ANSWER_BYTES)
        try:
            with exchanging(exchange):
                exchange.deadline.remaining()
                response = self._session.send(request)
        except BaseException:
            exchange.close()
            raise
        if not request.stream_output:
            exchange.close()
        self._latest.exchange = exchange
        if response.status_code in _REDIRECTS:
            exchange.close()
            raise UnexpectedStatus(status=response.status_code)
        if not request.stream_output or response.status_code >= 300:
            _check_xml(response.content)
        return response

    def expect(self, size: int) -> None:
        """Raise the size and time limits of this thread's latest response to those of a file of ``size``."""
        exchange: Exchange = self._latest.exchange
        exchange.limit = exchange.received + size + HEAD_BYTES
        exchange.deadline.extend(CALL_SECONDS + size / SLOWEST_BYTES)
