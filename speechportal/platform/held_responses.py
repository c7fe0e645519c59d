"""Held responses: long polling without a thread for each waiting request.

A view returns :func:`hold`'s response instead of waiting. Under gunicorn, the request's socket is then
detached from the worker, whose thread is free at once. One thread of the process polls the database twice a
second, with one query for all held requests; a small pool of threads builds and sends the responses. A
connection that its client has closed is dropped. A held request costs a socket and an object; each process
holds at most :data:`WAITING_LIMIT`.

How the socket is detached: gunicorn passes it to the application as ``environ["gunicorn.socket"]``. It is
duplicated, and the worker's own descriptor is replaced by one of a closed socket pair, so that nothing that
the worker does to it, including shutdown, reaches the client. ``StopIteration`` from the application makes
gunicorn send nothing. Under other servers, and for TLS sockets, the request waits in its own thread.
"""

from __future__ import annotations

import abc
import atexit
import contextlib
import contextvars
import http
import logging
import os
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NoReturn

from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
SEND_SECONDS = 30.0  # timeout of sending a response
THREADS = 4
WAITING_LIMIT = 1000  # in each process
_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP
ReadProgress = Callable[[Collection[int]], Mapping[int, Any]]


class Held(abc.ABC):
    """One held request: the row that it waits for, and its response.

    ``seconds`` is the longest wait. ``read_progress`` returns the present state of the given subjects, as
    comparable values that are passed to :meth:`answer`. With ``streams``, the head of the response and the
    parts from :meth:`events` are sent before the response is complete.
    """

    seconds: float
    read_progress: ReadProgress
    streams = False
    keep_alive = b""  # sent on a stream that would otherwise be silent

    def begin(self) -> HttpResponse | None:
        """Optional slow first step, such as fetching a file. If it returns a response, the wait ends."""
        return None

    @property
    @abc.abstractmethod
    def subject(self) -> int:
        """Primary key of the row that is waited for; known once :meth:`begin` has returned."""

    @abc.abstractmethod
    def answer(self, seen: Any) -> HttpResponse | None:
        """The response, or ``None`` to go on waiting. ``seen`` is ``None`` if the row was deleted."""

    @abc.abstractmethod
    def late(self) -> HttpResponse:
        """The response after a wait of :attr:`seconds`."""

    @abc.abstractmethod
    def stopped(self) -> HttpResponse:
        """The response when the server stops, or when it holds too many requests."""

    def head(self) -> HttpResponse:
        """Status and headers of a streamed response."""
        return HttpResponse()

    def events(self, seen: Any) -> bytes:
        """Part of a stream to send after a change of state."""
        return b""


class HeldResponse(HttpResponse):
    """Placeholder that passes through the middleware, whose headers are copied to the final response."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        del self.headers["Content-Type"]
        self.held = held
        self.context = contextvars.copy_context()


def hold(request: HttpRequest, held: Held) -> HttpResponseBase:
    """Response for a view to return: sent once :meth:`Held.answer` returns one."""
    environ = getattr(request, "environ", {})
    if _can_take(environ.get("gunicorn.socket")):
        return HeldResponse(held)
    return _streamed(held) if held.streams else _wait_here(held)


def _can_take(given: Any) -> bool:
    return type(given) is socket.socket


class HoldingHandler(WSGIHandler):
    """Django's WSGI handler, extended to pass held responses to this process's :class:`Holder`."""

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        response = super().get_response(request)
        if isinstance(response, HeldResponse) and holder.has_place():
            _hand_over(request, response)
        elif isinstance(response, HeldResponse):
            response.close()
            return response.held.stopped()
        return response


def _hand_over(request: Any, response: HeldResponse) -> NoReturn:
    theirs: socket.socket = request.environ["gunicorn.socket"]
    taken = theirs.dup()
    dead, other = socket.socketpair()
    os.dup2(dead.fileno(), theirs.fileno())
    dead.close()
    other.close()
    headers = {name: value for name, value in response.headers.items() if name != "Content-Length"}
    cookies = [morsel.OutputString() for morsel in response.cookies.values()]
    is_chunked = request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
    holder.take(Waiting(response.held, taken, headers, cookies, response.context, is_chunked))
    response.close()  # Also sends Django's signal request_finished.
    raise StopIteration


@dataclass(eq=False)
class Waiting:
    """One held request and its socket."""

    held: Held
    client: socket.socket
    headers: dict[str, str]
    cookies: list[str]
    context: contextvars.Context
    is_chunked: bool  # Chunked transfer encoding, which marks the end of a stream.
    since: float = field(default_factory=time.monotonic)
    begun: bool = False
    busy: bool = False  # A thread is working on it.
    seen: Any = None
    sent_at: float = 0.0  # when a stream last sent something; 0 before its head
    done: bool = False

    @property
    def is_late(self) -> bool:
        return time.monotonic() - self.since > self.held.seconds

    def close(self) -> None:
        self.done = True
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)
        self.client.close()

    def send(self, data: bytes) -> None:
        self.client.settimeout(SEND_SECONDS)
        self.client.sendall(data)
        self.sent_at = time.monotonic()

    def send_part(self, data: bytes) -> None:
        """Send one part of a stream."""
        if data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def finish(self, answer: HttpResponse) -> None:
        """Send the response, or the rest of a stream, and close the connection."""
        if self.held.streams and self.sent_at:
            self.send_part(answer.content)
            if self.is_chunked:
                self.send(b"0\r\n\r\n")
        else:
            self.send(self.head_of(answer, len(answer.content)) + answer.content)
        self.close()

    def head_of(self, answer: HttpResponse, length: int | None) -> bytes:
        status = http.HTTPStatus(answer.status_code)
        headers = {**self.headers, **dict(answer.headers), "Connection": "close"}
        if length is not None:
            headers["Content-Length"] = str(length)
        elif self.is_chunked:
            headers["Transfer-Encoding"] = "chunked"
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Set-Cookie: {cookie}" for cookie in self.cookies]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def begin(self) -> None:
        response = self.held.begin()
        self.begun = True
        if response is not None:
            self.finish(response)

    def go_on(self, seen: Any) -> None:
        """Send what the state ``seen`` requires: a part of a stream, the final response, or nothing."""
        answer = self.held.answer(seen)
        if answer is None and self.is_late:
            answer = self.held.late()
        if self.held.streams and not self.sent_at and (answer is None or answer.status_code < 400):
            self.send(self.head_of(self.held.head(), None))
        if answer is not None:
            self.finish(answer)
        elif self.held.streams:
            self.send_part(self.held.events(seen) or self.held.keep_alive)
        self.seen = seen


class Holder:
    """Registry of this process's held requests, with the thread that polls for them."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None

    def has_place(self) -> bool:
        return len(self._waiting) < WAITING_LIMIT

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, waiting: Waiting) -> None:
        with self._lock:
            self._waiting.append(waiting)
            if self._thread is None:
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="held")
                self._thread = threading.Thread(target=self._run, name="holder", daemon=True)
                self._thread.start()
                atexit.register(self.stop)
        self._arrived.set()

    def stop(self) -> None:
        """Respond to the requests that still wait, since the server stops."""
        with self._lock:
            left, self._waiting = self._waiting, []
        for waiting in left:
            if not waiting.busy and not waiting.done:
                with contextlib.suppress(OSError):
                    waiting.context.run(waiting.finish, waiting.held.stopped())

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except Exception:  # a database outage must not end this thread
                logger.exception("held requests could not be checked; trying again")
            with self._lock:
                self._waiting = [each for each in self._waiting if not each.done]
                idle = not self._waiting
                if idle:
                    self._arrived.clear()
            if idle:
                connections.close_all()
                self._arrived.wait()
            else:
                time.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self._drop_gone()
        groups: dict[ReadProgress, list[Waiting]] = defaultdict(list)
        for waiting in list(self._waiting):
            if waiting.busy or waiting.done:
                continue
            if waiting.begun:
                groups[waiting.held.read_progress].append(waiting)
            else:
                self._work(waiting, waiting.begin)
        close_old_connections()
        for read_progress, group in groups.items():
            found = read_progress({waiting.held.subject for waiting in group})
            for waiting in group:
                self._go_on(waiting, found.get(waiting.held.subject))
        close_old_connections()

    def _go_on(self, waiting: Waiting, seen: Any) -> None:
        quiet = time.monotonic() - waiting.sent_at > KEEP_ALIVE_SECONDS
        if seen is None or seen != waiting.seen or waiting.is_late or (waiting.held.streams and quiet):
            self._work(waiting, lambda: waiting.go_on(seen))

    def _work(self, waiting: Waiting, job: Callable[[], None]) -> None:
        assert self._pool is not None  # noqa: S101 - made with the thread
        waiting.busy = True
        self._pool.submit(waiting.context.run, _guarded, waiting, job)

    def _drop_gone(self) -> None:
        """Drop requests whose clients have closed the connection. Their tasks go on."""
        poller = select.poll()
        open_ones = {each.client.fileno(): each for each in self._waiting if not (each.busy or each.done)}
        open_ones.pop(-1, None)
        for descriptor in open_ones:
            poller.register(descriptor, select.POLLRDHUP)
        for descriptor, events in poller.poll(0):
            if events & _GONE:
                open_ones[descriptor].close()


def _guarded(waiting: Waiting, job: Callable[[], None]) -> None:
    """Run one step of a held request: a connection error drops it, any other exception is answered 500."""
    close_old_connections()
    try:
        job()
    except OSError:
        waiting.close()
    except Exception:  # any exception must produce a response
        logger.exception("a held request failed")
        with contextlib.suppress(OSError):
            waiting.finish(HttpResponse(status=500))
        waiting.close()
    finally:
        waiting.busy = False
        close_old_connections()


holder = Holder()


# --- Without gunicorn


def _states(held: Held) -> Iterator[Any]:
    """States of the subject, polled twice a second until the longest wait is over."""
    end = time.monotonic() + held.seconds
    while time.monotonic() < end:
        yield held.read_progress({held.subject}).get(held.subject)
        time.sleep(LOOK_SECONDS)


def _wait_here(held: Held) -> HttpResponse:
    if (response := held.begin()) is not None:
        return response
    for seen in _states(held):
        if (answer := held.answer(seen)) is not None:
            return answer
    return held.late()


def _streamed(held: Held) -> HttpResponseBase:
    if (response := held.begin()) is not None:
        return response
    head = held.head()
    streamed = StreamingHttpResponse(_parts(held), status=head.status_code)
    for name, value in head.headers.items():
        streamed.headers[name] = value
    return streamed


def _parts(held: Held) -> Iterator[bytes]:
    before: Any = None
    for seen in _states(held):
        if (answer := held.answer(seen)) is not None:
            yield answer.content
            return
        if seen != before:
            yield held.events(seen) or held.keep_alive
        before = seen
    yield held.late().content
