"""Outbound budget of a web request: limits on concurrency and time for calls to servers that users named.

A web process has few threads, and a server that responds slowly blocks one of them. The first outbound call
of a request therefore acquires a slot, which is released when the request ends:

- at most one request per account, and one per host, has a slot;
- at most :data:`THREADS` requests of the process have one, so that threads for other requests remain;
- all calls of the request together have :data:`SECONDS`, plus the time to send a file.

A streamed response acquires the slot again for each part, so that a client that reads slowly blocks nobody.
If no slot becomes free within :data:`PATIENCE`, the response is 503 with the reason. Workers and commands
have no budget: their calls have deadlines of their own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import cast

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from speechportal.outbound.errors import Busy, TimedOut

THREADS = 2  # of the six threads that a web process has by default
SECONDS = 20.0
TRANSFER_SECONDS = 900.0  # for requests with a file: uploads by compatible APIs and fetches by URL
PATIENCE = 1.0
TRANSFERS = ("/external/", "/v1/audio/", "/connections/file/")


class Slots:
    """Counters of the slots in use in this process: per account, per host and in total."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken: Counter[str] = Counter()

    def take(self, limits: dict[str, int], patience: float) -> None:
        """Acquire a slot under each of ``limits``. Raises Busy after ``patience`` seconds."""
        with self._free:
            if not self._free.wait_for(lambda: self._fits(limits), patience):
                raise Busy
            self._taken.update(limits.keys())

    def give(self, names: list[str]) -> None:
        with self._free:
            self._taken.subtract(names)
            self._taken += Counter()  # removes zero counts
            self._free.notify_all()

    def _fits(self, limits: dict[str, int]) -> bool:
        return all(self._taken[name] < most for name, most in limits.items())


slots = Slots()


@dataclass
class Budget:
    """Budget of one web request. ``account`` is set once it is known."""

    seconds: float = SECONDS  # remaining time when it last had no slot
    account: str = ""
    _names: list[str] = field(default_factory=list)
    _since: float = 0.0

    def begin(self, host: str) -> None:
        """Acquire a slot unless the request has one; before each call. Raises Busy, TimedOut."""
        if not self._names:
            limits = {"all": THREADS, f"host {host}": 1}
            if self.account:
                limits[f"account {self.account}"] = 1
            slots.take(limits, PATIENCE)
            self._names = list(limits)
            self._since = time.monotonic()
        self.remaining()

    def remaining(self) -> float:
        """Seconds left of the request's time. Raises TimedOut."""
        used = time.monotonic() - self._since if self._names else 0.0
        if (left := self.seconds - used) <= 0:
            raise TimedOut
        return left

    def end(self) -> None:
        """Release the slot. The next call acquires one again, with the remaining time."""
        if self._names:
            self.seconds -= time.monotonic() - self._since
            slots.give(self._names)
            self._names = []


_budget: ContextVar[Budget | None] = ContextVar("web_budget", default=None)


def limited(seconds: float, host: str, *, sent: float = 0.0) -> float:
    """Timeout of a call: ``seconds``, or less within a web request. ``sent`` is the time to send its body.

    Raises Busy, TimedOut.
    """
    budget = _budget.get()
    if budget is None:
        return seconds
    budget.begin(host)
    return min(seconds, budget.remaining() + sent)


def is_limited() -> bool:
    """Whether the call is made within a web request, which should not retry."""
    return _budget.get() is not None


def name_account(uid: str) -> None:
    """Set the account of the current request."""
    if (budget := _budget.get()) is not None:
        budget.account = uid


class WebBudgetMiddleware:
    """Middleware: gives each web request a budget and releases its slot at the end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_transfer = request.path_info.startswith(TRANSFERS)
        budget = Budget(TRANSFER_SECONDS if is_transfer else SECONDS)
        token = _budget.set(budget)
        try:
            response = self.get_response(request)
        finally:
            budget.end()
            _budget.reset(token)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            parts = cast("Iterator[bytes]", response.streaming_content)
            response.streaming_content = _within(budget, parts)
        return response


def _within(budget: Budget, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the parts of a streamed response, each within the budget."""
    while True:
        token = _budget.set(budget)
        try:
            part = next(parts, None)
        finally:
            budget.end()
            _budget.reset(token)
        if part is None:
            return
        yield part
