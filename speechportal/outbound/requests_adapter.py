"""Guarded transport for libraries that use ``requests``: Azure's and Google's clients.

Each call goes to a checked address, has one deadline from name resolution to the last byte, and a limit on
the size of the response: `ANSWER_BYTES`, or a file's length within :func:`expecting`. Calls within a web
request count against its budget (:mod:`speechportal.outbound.web_budget`). A response that is not a file is
read completely here, and refused if parsing it would take far more memory than it has bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from speechportal.outbound import web_budget
from speechportal.outbound.errors import AnswerTooLarge, BadAnswer, TimedOut, UnexpectedStatus
from speechportal.outbound.transport import Deadline, Exchange, GuardedConnection, Policy, exchanging

ANSWER_BYTES = 8 * 1024 * 1024  # limit of any response but a file, such as a listing or an error
ANSWER_PARTS = 100_000  # limit of its XML tags or JSON values; a page of 1,000 entries has half
HEAD_BYTES = 64 * 1024
CALL_SECONDS = 60.0
SLOWEST_BYTES = 32 * 1024  # bytes of a file that extend the deadline by a second
_expected: ContextVar[int] = ContextVar("expected", default=0)


class _Http(GuardedConnection, HTTPConnection):
    pass


class _Https(GuardedConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


@contextmanager
def expecting(size: int) -> Iterator[None]:
    """Context manager: responses to the calls inside may be a file of ``size`` bytes."""
    token = _expected.set(size)
    try:
        yield
    finally:
        _expected.reset(token)


class GuardedAdapter(HTTPAdapter):
    """Transport adapter for ``requests`` over guarded connections, without proxies or redirects."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._seen: tuple[datetime, float] | None = None
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        sent = int(request.headers.get("Content-Length") or 0) if request.headers else 0
        size = _expected.get()
        host = urlsplit(request.url or "").hostname or ""
        seconds = web_budget.limited(
            CALL_SECONDS + (sent + size) / SLOWEST_BYTES, host, sent=sent / SLOWEST_BYTES
        )
        exchange = Exchange(self._policy(), Deadline(seconds), max(ANSWER_BYTES, size) + HEAD_BYTES)
        kwargs["proxies"] = {}
        try:
            with exchanging(exchange):
                response = super().send(request, *args, **kwargs)
            _check_answer(response, exchange.limit, is_file=size > 0)
        except BaseException as error:
            exchange.close()
            if exchange.deadline.passed and not isinstance(error, TimedOut):
                raise TimedOut from error
            raise
        self._note_time(response)
        return response

    def _note_time(self, response: requests.Response) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return  # Keep the previous value.
        self._seen = (date if date.tzinfo else date.replace(tzinfo=UTC), time.monotonic())

    def server_time(self) -> datetime | None:
        """Current time of the server's clock, from the ``Date`` header of its latest response."""
        if self._seen is None:
            return None
        date, at = self._seen
        return date + timedelta(seconds=time.monotonic() - at)


def _check_answer(response: requests.Response, limit: int, *, is_file: bool) -> None:
    """Refuse redirects, and responses that would take too much memory.

    Raises UnexpectedStatus, AnswerTooLarge, BadAnswer.
    """
    if response.is_redirect:
        response.close()
        raise UnexpectedStatus(status=response.status_code)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and response.request.method != "HEAD" and int(length) > limit:
        raise AnswerTooLarge(limit=limit)  # Azure's client would allocate it.
    if is_file and response.status_code < 300:
        return
    content = response.content
    if sum(map(content.count, (b"<", b"[", b"{", b","))) > ANSWER_PARTS:
        raise BadAnswer(reason="too many parts")
    if b"<!DOCTYPE" in content[:4096].upper():
        raise BadAnswer(reason="DOCTYPE")


def guarded_session(adapter: GuardedAdapter, session: requests.Session | None = None) -> requests.Session:
    """Return a session that sends every request through the adapter and ignores the environment."""
    session = session or requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
