"""Held responses: requests that wait for something, without a thread for each of them.

A view returns :func:`hold`'s response instead of waiting. Under gunicorn the request's socket is then taken
from the worker: the worker's thread is free at once, and one thread of the process looks twice a second, with
one query for all, whether what they wait for has happened. A few threads build and send the answers. A
connection that its client has closed is dropped. So a waiting client costs a socket and an object; a thousand
of them may wait in each process.

How the socket is taken: gunicorn hands it to the application as ``environ["gunicorn.socket"]``. It is
duplicated, and the worker's own descriptor is replaced by one of a closed socket pair, so that whatever the
worker does to it, shutting it down included, does not reach the client. ``StopIteration`` from the
application tells gunicorn that there is nothing to send. Under other servers, and for TLS sockets, the
request waits in its own thread.
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
SEND_SECONDS = 30.0  # for an answer to reach its client
THREADS = 4
WAITING_LIMIT = 1000  # in each process
_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP
Look = Callable[[Collection[int]], Mapping[int, Any]]


class Held(abc.ABC):
    """What one request waits for, and how it is answered.

    ``seconds`` is the longest wait; ``look`` returns, for the subjects given, whatever :meth:`answer` needs
    to know, as values that can be compared. ``streams`` says that the head of the answer and the parts that
    :meth:`events` makes are sent before it is complete.
    """

    seconds: float
    look: Look
    streams = False
    keep_alive = b""  # what is sent on a stream where nothing else is

    def begin(self) -> HttpResponse | None:
        """A slow first step, such as fetching a file. A response ends the wait."""
        return None

    @property
    @abc.abstractmethod
    def subject(self) -> int:
        """The row that is waited for; known once :meth:`begin` has returned."""

    @abc.abstractmethod
    def answer(self, seen: Any) -> HttpResponse | None:
        """The answer, or ``None`` as long as it has to wait. ``seen`` is ``None`` for a row that is gone."""

    @abc.abstractmethod
    def late(self) -> HttpResponse:
        """The answer after :attr:`seconds`."""

    @abc.abstractmethod
    def stopped(self) -> HttpResponse:
        """The answer where the server stops or has no place left."""

    def head(self) -> HttpResponse:
        """The head of a streamed answer."""
        return HttpResponse()

    def events(self, seen: Any) -> bytes:
        """What a stream says about a change."""
        return b""


class HeldResponse(HttpResponse):
    """Stands for the answer on its way through the middleware, whose headers the answer will have."""

    def __init__(self, held: Held) -> None:
        super().__init__()
        del self.headers["Content-Type"]
        self.held = held
        self.context = contextvars.copy_context()


def hold(request: HttpRequest, held: Held) -> HttpResponseBase:
    """The response for a view to return: it is answered once ``held`` says so."""
    environ = getattr(request, "environ", {})
    if _can_take(environ.get("gunicorn.socket")):
        return HeldResponse(held)
    return _streamed(held) if held.streams else _wait_here(held)


def _can_take(given: Any) -> bool:
    return type(given) is socket.socket


class HoldingHandler(WSGIHandler):
    """Django's WSGI handler, which hands held responses to this process's :class:`Holder`."""

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
    response.close()  # Sends Django's signal for the end of a request, too.
    raise StopIteration


@dataclass(eq=False)
class Waiting:
    """One held request and its socket."""

    held: Held
    client: socket.socket
    headers: dict[str, str]
    cookies: list[str]
    context: contextvars.Context
    is_chunked: bool  # A stream is sent in chunks, so that its client gets each part, and knows the end.
    since: float = field(default_factory=time.monotonic)
    begun: bool = False
    busy: bool = False  # A thread works on it.
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
        """Send a part of a stream."""
        if data:
            self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def finish(self, answer: HttpResponse) -> None:
        """Send the answer, or the rest of a stream, and close the connection."""
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
        """Send whatever ``seen`` gives cause for."""
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
    """The held requests of this process."""

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
        """Tell those that still wait that the server stops."""
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
            except Exception:  # a database that is away must not end the waiting
                logger.exception("waiting requests could not be looked at")
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
        groups: dict[Look, list[Waiting]] = defaultdict(list)
        for waiting in list(self._waiting):
            if waiting.busy or waiting.done:
                continue
            if waiting.begun:
                groups[waiting.held.look].append(waiting)
            else:
                self._work(waiting, waiting.begin)
        close_old_connections()
        for look, group in groups.items():
            found = look({waiting.held.subject for waiting in group})
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
        """Forget requests whose clients have closed the connection. Their tasks go on."""
        poller = select.poll()
        open_ones = {each.client.fileno(): each for each in self._waiting if not (each.busy or each.done)}
        open_ones.pop(-1, None)
        for descriptor in open_ones:
            poller.register(descriptor, select.POLLRDHUP)
        for descriptor, events in poller.poll(0):
            if events & _GONE:
                open_ones[descriptor].close()


def _guarded(waiting: Waiting, job: Callable[[], None]) -> None:
    """Run a step of a waiting request; a fault of ours is answered, one of the connection ends it."""
    close_old_connections()
    try:
        job()
    except OSError:
        waiting.close()
    except Exception:  # it must be answered, whatever it is
        logger.exception("a waiting request failed")
        with contextlib.suppress(OSError):
            waiting.finish(HttpResponse(status=500))
        waiting.close()
    finally:
        waiting.busy = False
        close_old_connections()


holder = Holder()


# --- Without gunicorn


def _states(held: Held) -> Iterator[Any]:
    """What is seen of the subject, twice a second until the longest wait is over."""
    end = time.monotonic() + held.seconds
    while time.monotonic() < end:
        yield held.look({held.subject}).get(held.subject)
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
