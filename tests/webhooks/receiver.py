"""Webhook receiver: an HTTP server on loopback that stores what it gets."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.outbound.servers import Server

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]  # names in lower case
    body: bytes
    path: str

    @property
    def json(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.body)
        return message

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers with what ``answer`` makes of each message; it gets the message and its number, from 1."""

    def __init__(self, answer: Callable[[Received, int], bytes]) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.server: Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.port}/hook?key=1"

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.received]

    def handle(self, stream: socket.socket, head: bytes) -> None:
        top, _, body = head.partition(b"\r\n\r\n")
        first, *lines = top.decode("ascii").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += stream.recv(65536)
        message = Received(headers, body, first.split(" ")[1])
        self.received.append(message)
        stream.sendall(self.answer(message, len(self.received)))


def status(code: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer as it is sent; ``Retry_After="60"`` becomes the header Retry-After."""
    lines = [f"HTTP/1.1 {code} Status", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def receiving(*answers: bytes) -> Iterator[Receiver]:
    """A receiver that gives the answers in turn, and the last of them from then on; 204 without any."""
    given = answers or (NO_CONTENT,)
    with receiving_by(lambda _message, number: given[min(number, len(given)) - 1]) as receiver:
        yield receiver


@contextmanager
def receiving_by(answer: Callable[[Received, int], bytes]) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    receiver.server = Server(receiver.handle)
    try:
        yield receiver
    finally:
        receiver.server.close()
