"""Slow clients against the real web server: others do not wait for them, and they are disconnected."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings

from speechportal.accounts.models import Account
from speechportal.accounts.tokens.api_tokens import create_token
from speechportal.platform.web_worker import GATHERED_BYTES, GatheredRequest
from speechportal.storage import local_file_links
from speechportal.storage.models import Connection
from tests.api.clova_calls import address
from tests.api.portal_server import serving
from tests.factories import make_account, make_batch, make_connection, make_user

THREADS, SECONDS = 6, 6
LENGTH, CHUNKED = "Content-Length: 900000", "Transfer-Encoding: chunked"
pytestmark = pytest.mark.django_db(transaction=True)


class Drip:
    """Client that sends ``data`` at once, then a byte every 100 ms until the server disconnects."""

    def __init__(self, url: str, data: bytes) -> None:
        parts = urlsplit(url)
        self.connection = socket.create_connection((parts.hostname or "", parts.port or 80), timeout=60)
        self.began = time.monotonic()
        self.ended_after: float | None = None
        self.answer = b""
        self._data = data
        self._thread = threading.Thread(target=self._send, daemon=True)
        threading.Thread(target=self._read, daemon=True).start()
        self._thread.start()

    def _send(self) -> None:
        try:
            self.connection.sendall(self._data)
            while True:
                time.sleep(0.1)
                self.connection.sendall(b"x")
        except OSError:
            pass

    def _read(self) -> None:
        try:
            while data := self.connection.recv(65536):
                self.answer += data
        except OSError:
            pass
        self.ended_after = time.monotonic() - self.began
        self.close()

    def wait(self, seconds: float) -> float:
        end = time.monotonic() + seconds
        while self.ended_after is None and time.monotonic() < end:
            time.sleep(0.05)
        assert self.ended_after is not None, f"it still holds the server after {seconds} s"
        return self.ended_after

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def account() -> Account:
    return make_account(owner=make_user("alice@example.com"))


@pytest.fixture
def portal(account: Account, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, THREADS, REQUEST_BODY_SECONDS=str(SECONDS)) as url:
        yield url


@pytest.fixture
def addresses(account: Account) -> dict[str, str]:
    """Address and headers of each endpoint that takes a body."""
    owner = account.members.get()
    token = create_token(
        account=account, created_by=owner, name="Token", scopes=["batches:write", "tasks:write"]
    )[1]
    batch = make_batch(account)
    link = local_file_links.make(make_connection(account).uid, "in/a.wav", 600, "put", None)
    bearer = f"Authorization: Bearer {token}\r\nContent-Type: "
    form = "multipart/form-data; boundary=x"
    key = f"X-CLOVASPEECH-API-KEY: {token}"
    return {
        "POST /login/": f"Content-Type: {form}",
        "POST /api/v1/batches": f"{bearer}application/json",
        f"PUT {link.removeprefix(settings.PUBLIC_URL)}": "Content-Type: audio/wav",
        f"POST {address(batch, 'upload')}": f"{key}\r\nContent-Type: {form}",
        "POST /v1/audio/transcriptions": f"{bearer}{form}",
    }


def request(line: str, headers: str, body: str, sent: int) -> bytes:
    method, path = line.split()[:2]
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}\r\n\r\n"
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    content = start + b"y" * sent if sent else b""
    if body == CHUNKED:
        content = b"%x\r\n" % 900_000 + content
    return head.encode() + content


def quick(portal: str) -> None:
    """Check that another visitor gets a page that needs a thread and the database."""
    for path in ("/login/", "/healthz"):
        began = time.monotonic()
        assert requests.get(portal + path, timeout=20).status_code == 200
        assert time.monotonic() - began < SECONDS, path


def test_dripping_bodies_are_ended_and_stop_nobody(portal: str, addresses: dict[str, str]) -> None:
    lines = [(line, headers, body) for line, headers in addresses.items() for body in (LENGTH, CHUNKED)]
    short = [(line, Drip(portal, request(line, headers, body, 0))) for line, headers, body in lines]
    long = [
        (line, Drip(portal, request(line, headers, body, GATHERED_BYTES)))
        for line, headers, body in lines
        if line.startswith(("PUT", "POST /v1", "POST /login"))
    ]
    assert len(short) == 10
    assert len(long) == THREADS
    with ExitStack() as stack:
        for _line, drip in short + long:
            stack.callback(drip.close)
        time.sleep(1)
        quick(portal)
        quick(portal)
        for _line, drip in short:
            drip.wait(SECONDS + 5)
        for _line, drip in long:  # A third of the threads reads them, and the slow ones are ended in turn.
            drip.wait(120)
    for line, drip in short + long:
        status = re.match(rb"HTTP/1.1 ([0-9]{3})", drip.answer)
        assert status is not None, (line, drip.answer)
        assert status[1] in {b"408", b"503"}, (line, drip.answer)


def test_heads_that_do_not_end_hold_no_thread(portal: str) -> None:
    starts = [b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"\r\n\r\n", b""]
    drips = [Drip(portal, start) for start in starts * 3]
    time.sleep(0.5)
    quick(portal)
    for drip in drips:
        assert drip.wait(SECONDS + 3) < SECONDS + 3
    endless = Drip(portal, b"GET / HTTP/1.1\r\n" + b"X-Long: y\r\n" * 10_000)
    endless.wait(60)
    assert endless.answer.startswith(b"HTTP/1.1 431")


def test_a_long_body_that_comes_steadily_arrives_whole(
    portal: str, addresses: dict[str, str], account: Account
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            time.sleep(0.1)
            yield b"s" * 20_000

    address = portal + next(line for line in addresses if line.startswith("PUT")).split()[1]
    store = Connection.objects.for_account(account).latest("pk").store()
    for data in (pieces(), b"t" * 300_000):
        answer = requests.put(address, data=data, headers={"Host": "localhost"}, timeout=60)
        assert answer.status_code == 200, answer.text
        stored = store.stat("in/a.wav")
        assert stored is not None
        assert stored.size == (300_000 if isinstance(data, bytes) else 400_000)


def test_requests_on_one_connection_are_answered_in_order(portal: str) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    parts = urlsplit(portal)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10) as client:
        for data in (get, get + get[:20], get[20:], get + get + get):
            client.sendall(data)
            time.sleep(0.3)
        got = b""
        while got.count(b"HTTP/1.1 200") < 6 and (data := client.recv(65536)):
            got += data
    assert got.count(b"HTTP/1.1 200") == 6


def test_when_a_request_is_ready_for_a_thread() -> None:
    def ready(data: bytes) -> bool:
        one, many = GatheredRequest(), GatheredRequest()
        one.add(data)
        for byte in data:
            many.add(bytes([byte]))
        assert one.is_ready == many.is_ready
        return one.is_ready

    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    assert ready(b"GET / HTTP/1.1\r\n\r\n")
    assert not ready(b"GET / HTTP/1.1\r\n")
    assert not ready(b"\r\n\r\n")
    assert ready(b"\r\nGET / HTTP/1.1\r\n\r\n")
    assert not ready(head + b"content-length: 3\r\n\r\nab")
    assert ready(head + b"content-length: 3\r\n\r\nabc")
    assert ready(head + b"Content-Length: 30\r\nExpect: 100-continue\r\n\r\n")
    assert not ready(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert ready(head + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
