"""Faulty HTTP proxy for an S3 server: delays, refuses, cuts off, and sometimes answers wrongly.

Which request meets which fault follows from the seed, the request (method and path) and how often it was
made before, not from the order in which workers come. Requests are forwarded one connection each.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

MIB = 1024 * 1024
BUSY = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)
FULL = (
    b"HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s"
)

# What a request may meet, and how often in a thousand. Faults that fit only some requests pass by the others.
FAULTS = {
    "latency": 120,
    "503": 40,
    "reset before": 20,  # the server never hears of it
    "answer lost": 20,  # the server has done it, the client never hears of it
    "half an answer": 15,
    "half a request": 15,
    "wrong ETag": 15,
    "stale listing": 40,
}


@dataclass
class Request:
    method: str
    target: str
    head: bytes
    body: bytes
    port: int  # the client's

    @property
    def key(self) -> str:
        """Bucket and key, decoded."""
        return unquote(self.target.partition("?")[0]).lstrip("/")

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and "delimiter=" in self.target.partition("?")[2]

    @property
    def step(self) -> str:
        """Step of the portal's work that the request belongs to, as far as it shows."""
        if self.is_listing:
            return "list"
        if self.method == "PUT":
            return "copy" if b"x-amz-copy-source:" in self.head.lower() else "put"
        return {"GET": "download", "HEAD": "look", "DELETE": "delete"}.get(self.method, "other")


@dataclass
class Answer:
    head: bytes
    body: bytes


Watcher = Callable[[Request, str], None]  # (request, "before" | "after")


@dataclass
class FaultyProxy:
    """Listens on a loopback port, forwards to ``upstream_port``; ``faulty`` turns the faults on and off."""

    upstream_port: int
    seed: int
    watcher: Watcher = lambda _request, _when: None
    faulty: bool = True
    full: bool = False  # Whether the bucket's quota is used up.
    injected: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self._listings: dict[str, Answer] = {}
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(120)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=4 * MIB)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if request := await self._read_request(reader, writer):
                    await self._handle(request, writer)
        finally:
            writer.close()

    async def _read_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        lines = [line for line in head.split(b"\r\n")[1:] if line]
        names = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        if names.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await writer.drain()
        body = await reader.readexactly(int(names.get(b"content-length", b"0")))
        kept = [line for line in lines if not line.lower().startswith((b"expect:", b"connection:"))]
        head = b"\r\n".join([head.split(b"\r\n", 1)[0], *kept, b"Connection: close", b"", b""])
        return Request(method, target, head, body, writer.get_extra_info("peername")[1])

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        fault = self._fault(request)
        self.watcher(request, "before")
        if self.full and request.step in {"put", "copy"}:
            self.injected["quota used up"] += 1
            text = b"<Error><Code>QuotaExceeded</Code><Message>full</Message></Error>"
            await _send(writer, FULL % (len(text), text))
            return
        if await self._instead(fault, request, writer):
            return
        answer = await self._forward(request)
        answer = self._falsified(fault, request, answer)
        self.watcher(request, "after")
        if fault == "answer lost":
            self._note(fault)
            _reset(writer)
        elif fault == "half an answer" and len(answer.body) > 1:
            self._note(fault)
            await _send(writer, answer.head + answer.body[: len(answer.body) // 2])
            _reset(writer)
        else:
            await _send(writer, answer.head + answer.body)

    async def _instead(self, fault: str, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Apply a fault to the request; returns whether the server did not get the original request."""
        if fault == "latency":
            self._note(fault)
            await asyncio.sleep(random.Random(f"{self.seed} {self.requests}").uniform(0.05, 1.5))
            return False
        if fault == "503":
            text = b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>"
            await _send(writer, BUSY % (len(text), text))
        elif fault == "reset before":
            _reset(writer)
        elif fault == "half a request" and len(request.body) > 1:
            await self._forward(request, cut=len(request.body) // 2)
            _reset(writer)
        elif fault == "stale listing" and request.target in self._listings:
            answer = self._listings[request.target]
            await _send(writer, answer.head + answer.body)
        else:
            return False
        self._note(fault)
        return True

    async def _forward(self, request: Request, cut: int | None = None) -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=4 * MIB)
        try:
            writer.write(request.head + request.body[:cut])
            await writer.drain()
            if cut is not None:
                _reset(writer)
                return Answer(b"", b"")
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head = await reader.readuntil(b"\r\n\r\n")
            return Answer(head, await reader.read())
        finally:
            writer.close()

    def _falsified(self, fault: str, request: Request, answer: Answer) -> Answer:
        if request.is_listing and fault != "stale listing" and random.Random(self.requests).random() < 0.2:
            self._listings[request.target] = answer
        if fault == "wrong ETag" and not request.is_listing:
            lines = answer.head.split(b"\r\n")
            wrong = hashlib.md5(f"{self.seed} {self.requests}".encode(), usedforsecurity=False).hexdigest()
            changed = [
                f'ETag: "{wrong}"'.encode() if line.lower().startswith(b"etag:") else line for line in lines
            ]
            if changed != lines:
                self._note(fault)
                return Answer(b"\r\n".join(changed), answer.body)
        return answer

    def _fault(self, request: Request) -> str:
        if not self.faulty:
            return ""
        name = f"{request.method} {request.target}"
        self._seen[name] += 1
        number = random.Random(f"{self.seed} {name} {self._seen[name]}").randrange(1000)
        for fault, share in FAULTS.items():
            if number < share:
                return fault
            number -= share
        return ""

    def _note(self, fault: str) -> None:
        self.injected[fault] += 1


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection as a crash would: sent data may be lost."""
    with contextlib.suppress(OSError):
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
