"""gunicorn worker that passes a request to a thread only after its bytes have arrived.

gunicorn's own threaded worker reads heads and bodies in its threads, so that a few slow clients can occupy
all of them (Slowloris). Here the main loop buffers what each connection sends, without a thread, until the
request is complete or :data:`GATHERED_BYTES` long. The rest of a longer body is read by a thread. At most a
third of the threads do so at a time; further long requests are queued, and slow ones are ended
(:mod:`speechportal.platform.slow_bodies`). So there are always threads for complete requests.
"""

from __future__ import annotations

import contextlib
import re
import selectors
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import TConn, ThreadWorker

from speechportal.platform import slow_bodies
from speechportal.platform.slow_bodies import ArrivingBody

GATHERED_BYTES = 64 * 1024  # buffered bytes of a request; a thread reads the rest
TURN_SECONDS = 60.0  # longest wait of a long request for a thread
HEAD_SECONDS = 5.0  # time for parsing a head that has arrived
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[^\r\n]*chunked", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:", re.IGNORECASE)


@dataclass
class GatheredRequest:
    """Buffered bytes of one request. The head is validated later, by gunicorn's parser."""

    data: bytearray = field(default_factory=bytearray)
    _body_at: int = 0  # offset of the body; 0 until the head is complete
    _length: int | None = 0  # length of the body; None: chunked
    _expects: bool = False  # The client waits for "100 Continue" before it sends the body.

    def add(self, data: bytes) -> None:
        seen = max(len(self.data) - 3, 0)
        self.data += data
        if self._body_at:
            return
        while self.data.startswith(b"\r\n"):  # Empty lines before a request are ignored (RFC 9112, 2.2).
            del self.data[:2]
            seen = 0
        if (end := self.data.find(b"\r\n\r\n", seen)) >= 0:
            self._body_at = end + 4
            self._read_head(bytes(self.data[: end + 2]))

    def _read_head(self, head: bytes) -> None:
        self._expects = _EXPECT.search(head) is not None
        lengths = (int(each) for each in _CONTENT_LENGTH.findall(head))
        self._length = None if _CHUNKED.search(head) else max(lengths, default=0)

    @property
    def is_too_long(self) -> bool:
        """Whether the head alone exceeds the buffer: such a request is refused."""
        return not self._body_at and len(self.data) >= GATHERED_BYTES

    @property
    def is_complete(self) -> bool:
        if not self._body_at:
            return False
        if self._length is None:  # If this is data inside a chunk, a thread reads the rest.
            return self.data.endswith(b"0\r\n\r\n")
        return len(self.data) - self._body_at >= self._length

    @property
    def is_ready(self) -> bool:
        """Whether it can go to a thread: it is complete, fills the buffer, or expects "100 Continue"."""
        is_long = len(self.data) >= GATHERED_BYTES or self._expects
        return self.is_complete or (bool(self._body_at) and is_long)


class GatheringWorker(ThreadWorker):  # type: ignore[misc] # gunicorn ships no types
    """gunicorn's threaded worker, with buffering of requests in the main loop.

    All methods but :meth:`handle` and :meth:`handle_request` run in the worker's main thread.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = max(self.cfg.threads // 3, 1)
        self._reading: set[TConn] = set()  # long requests that have a thread
        self._queued: deque[tuple[float, TConn]] = deque()  # long requests that wait, with deadlines

    def enqueue_req(self, conn: TConn) -> None:
        """Start to buffer a connection's next request. Called for new and for kept-alive connections."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
            return
        request = GatheredRequest()
        if conn.parser is not None:  # Bytes of this request may have arrived with the previous one.
            request.add(conn.parser.unreader.take_buffered())
        if request.is_ready:
            self._dispatch(conn, request)
            return
        if len(self.pending_conns) >= self.worker_connections // 2:
            self._drop(self.pending_conns[0])
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + settings.REQUEST_BODY_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_data, conn, request))

    def _on_data(self, conn: TConn, request: GatheredRequest, _socket: Any) -> None:
        try:
            data = conn.sock.recv(GATHERED_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._drop(conn)
            return
        request.add(data)
        if request.is_too_long:
            self._refuse(conn, b"431 Request Header Fields Too Large")
        elif request.is_ready:
            self.poller.unregister(conn.sock)
            self.pending_conns.remove(conn)
            self._dispatch(conn, request)

    def _dispatch(self, conn: TConn, request: GatheredRequest) -> None:
        conn.init()
        conn.parser.unreader.unread(bytes(request.data))
        conn.data_ready = True
        if request.is_complete:
            super().enqueue_req(conn)
            return
        self._queued.append((time.monotonic() + TURN_SECONDS, conn))
        self._give_turns()

    def _give_turns(self) -> None:
        while self._queued and len(self._reading) < self._turns:
            _until, conn = self._queued.popleft()
            self._reading.add(conn)
            super().enqueue_req(conn)
        slow_bodies.watch.queued = len(self._queued)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        self._reading.discard(conn)
        super().finish_request(conn, fs)
        self._give_turns()

    def _drop(self, conn: TConn) -> None:
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        self.nr_conns -= 1
        conn.close()

    def _refuse(self, conn: TConn, status: bytes) -> None:
        _respond(conn, status)
        self._drop(conn)

    def murder_pending(self) -> None:
        """Close connections whose requests are overdue; when the worker stops, all waiting ones."""
        now = time.monotonic()
        if not self.alive:
            for conn in list(self.pending_conns):
                self._drop(conn)
        while self.pending_conns and self.pending_conns[0].timeout <= now:
            self._refuse(self.pending_conns[0], b"408 Request Timeout")
        while self._queued and (self._queued[0][0] <= now or not self.alive):
            _until, conn = self._queued.popleft()
            _respond(conn, b"503 Service Unavailable\r\nRetry-After: 60")
            self.nr_conns -= 1
            conn.close()
        slow_bodies.watch.queued = len(self._queued)

    def handle(self, conn: TConn) -> Any:
        """Parse the head and handle the request, in a thread."""
        with contextlib.ExitStack() as reading:
            reading.enter_context(ArrivingBody(conn.sock, HEAD_SECONDS).waiting())
            conn.reading = reading
            return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        conn.reading.close()
        return super().handle_request(req, conn)


def _respond(conn: TConn, status: bytes) -> None:
    """Send a short response without blocking the main loop; what does not fit the socket's buffer is lost."""
    with contextlib.suppress(OSError):
        conn.sock.setblocking(False)
        conn.sock.send(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
