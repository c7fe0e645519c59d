"""Guarded transport for libraries that send by ``requests``: Azure's and Google's clients.

Each call goes to an address that was checked, has one deadline from the name to the last byte, and an answer
of limited size: `ANSWER_BYTES`, or a file's length within :func:`expecting`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from speechportal.outbound.errors import UnexpectedStatus
from speechportal.outbound.transport import Deadline, Exchange, GuardedConnection, Policy, exchanging

ANSWER_BYTES = 16 * 1024 * 1024  # of a listing, an error, or anything else but a file
HEAD_BYTES = 64 * 1024
CALL_SECONDS = 60.0
SLOWEST_BYTES = 32 * 1024  # of a file that take a second more
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
    """Allow answers of the calls in this context to be a file of so many bytes."""
    token = _expected.set(size)
    try:
        yield
    finally:
        _expected.reset(token)


class GuardedAdapter(HTTPAdapter):
    """An adapter of ``requests`` over guarded connections, without a proxy. It follows no redirect."""

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
        seconds = CALL_SECONDS + (sent + size) / SLOWEST_BYTES
        exchange = Exchange(self._policy(), Deadline(seconds), ANSWER_BYTES + size + HEAD_BYTES)
        kwargs["proxies"] = {}
        try:
            with exchanging(exchange):
                response = super().send(request, *args, **kwargs)
        except BaseException:
            exchange.close()
            raise
        if response.is_redirect:
            exchange.close()
            response.close()
            raise UnexpectedStatus(status=response.status_code)
        self._note_time(response)
        return response

    def _note_time(self, response: requests.Response) -> None:
        try:
            date = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return  # The one before is kept.
        self._seen = (date if date.tzinfo else date.replace(tzinfo=UTC), time.monotonic())

    def server_time(self) -> datetime | None:
        """Now, by the server's clock as its latest answer showed it."""
        if self._seen is None:
            return None
        date, at = self._seen
        return date + timedelta(seconds=time.monotonic() - at)


def guarded_session(adapter: GuardedAdapter, session: requests.Session | None = None) -> requests.Session:
    """A session whose every request goes through the adapter; nothing of the environment counts."""
    session = session or requests.Session()
    session.trust_env = False
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
