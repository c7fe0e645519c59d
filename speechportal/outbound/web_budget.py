"""Budget of a web request for storages and receivers that belong to strangers.

A web process has few threads, and a server that drips its answer holds one of them. So the first outbound
call of a request takes a slot, which is held until the request ends:

- one request of an account at a time, and one to a host;
- at most :data:`THREADS` of the process's threads altogether, so that others always go on;
- all calls of the request together have :data:`SECONDS`, plus the time that a file needs which is sent.

Where no slot becomes free within :data:`PATIENCE`, the request is answered 503 with the reason. Workers and
commands have no budget: their calls have deadlines of their own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from speechportal.outbound.errors import Busy, TimedOut

THREADS = 2  # of the four that a web process has by default
SECONDS = 20.0
TRANSFER_SECONDS = 900.0  # for requests that carry a file: other APIs' uploads and fetches by URL
PATIENCE = 1.0
TRANSFERS = ("/external/", "/v1/audio/")


class Slots:
    """Counts what is under way in this process, by account, by host and altogether."""

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken: Counter[str] = Counter()

    def take(self, limits: dict[str, int], patience: float) -> None:
        """Raises Busy."""
        with self._free:
            if not self._free.wait_for(lambda: self._fits(limits), patience):
                raise Busy
            self._taken.update(limits.keys())

    def give(self, names: list[str]) -> None:
        with self._free:
            self._taken.subtract(names)
            self._taken += Counter()  # forgets what is zero
            self._free.notify_all()

    def _fits(self, limits: dict[str, int]) -> bool:
        return all(self._taken[name] < most for name, most in limits.items())


slots = Slots()


@dataclass
class Budget:
    """What one web request may use. ``account`` is filled in once it is known."""

    seconds: float = SECONDS
    account: str = ""
    _names: list[str] = field(default_factory=list)
    _end: float = 0.0

    def begin(self, host: str) -> None:
        """Called before each call. Raises Busy, TimedOut."""
        if not self._names:
            limits = {"all": THREADS, f"host {host}": 1}
            if self.account:
                limits[f"account {self.account}"] = 1
            slots.take(limits, PATIENCE)
            self._names = list(limits)
            self._end = time.monotonic() + self.seconds
        self.remaining()

    def remaining(self) -> float:
        """Seconds left of the request's time. Raises TimedOut."""
        if (left := self._end - time.monotonic()) <= 0:
            raise TimedOut
        return left

    def end(self) -> None:
        if self._names:
            slots.give(self._names)
            self._names = []


_budget: ContextVar[Budget | None] = ContextVar("web_budget", default=None)


def limited(seconds: float, host: str, *, sent: float = 0.0) -> float:
    """The time for a call that would take ``seconds``: less in a web request. ``sent`` is for its body.

    Raises Busy, TimedOut.
    """
    budget = _budget.get()
    if budget is None:
        return seconds
    budget.begin(host)
    return min(seconds, budget.remaining() + sent)


def name_account(uid: str) -> None:
    """The request that is under way is this account's."""
    if (budget := _budget.get()) is not None:
        budget.account = uid


class WebBudgetMiddleware:
    """Gives each web request a budget, and its slot back at the end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_transfer = request.path_info.startswith(TRANSFERS)
        budget = Budget(TRANSFER_SECONDS if is_transfer else SECONDS)
        token = _budget.set(budget)
        try:
            return self.get_response(request)
        finally:
            budget.end()
            _budget.reset(token)
