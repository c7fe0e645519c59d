"""Request bodies: limits apply before they are read, also to chunked bodies."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from pytest_django.fixtures import Settings

from speechportal.platform import slow_bodies
from speechportal.platform.request_bodies import BoundedBodies
from speechportal.platform.slow_bodies import ArrivingBody
from speechportal.storage import local_file_links
from speechportal.wsgi import application
from tests.factories import make_account, make_connection

LIMIT = 1000


class Endless(io.RawIOBase):
    """A body that never ends; counts what was read of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = 65536 if size < 0 else size
        self.taken += size
        return b"x" * size


@pytest.fixture(autouse=True)
def small(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = LIMIT


@pytest.fixture
def kept_connection() -> Iterator[None]:
    """Keep the database connection over requests, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def call(app: Any, path: str, body: Any, **environ: Any) -> tuple[str, bytes]:
    given = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "wsgi.input": body,
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.input_terminated": True,
        **environ,
    }
    statuses: list[str] = []

    def start(status: str, _headers: object, _error: object = None) -> None:
        statuses.append(status)

    answer: Iterable[bytes] = app(given, start)
    return statuses[0], b"".join(answer)


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    start_response("200 OK", [])
    return [environ["wsgi.input"].read(length)]


@pytest.mark.parametrize("path", ["/login/", "/a/acc_x/batches/new/", "/api/v1/batches", "/admin/login/"])
@pytest.mark.parametrize("chunked", [False, True])
def test_too_much_is_refused_before_it_is_read(path: str, chunked: bool) -> None:
    body = Endless()
    how = {"HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {"CONTENT_LENGTH": str(2 * 1024**3)}
    status, _text = call(application, path, body, CONTENT_TYPE="multipart/form-data; boundary=x", **how)
    assert status.startswith("413")
    assert body.taken <= 2 * 65536


def test_a_chunked_body_arrives_whole() -> None:
    status, text = call(
        BoundedBodies(echo), "/x/", io.BytesIO(b"y" * LIMIT), HTTP_TRANSFER_ENCODING="chunked"
    )
    assert (status, text) == ("200 OK", b"y" * LIMIT)


def test_a_server_that_cannot_tell_the_end_asks_for_a_length() -> None:
    status, _text = call(
        BoundedBodies(echo),
        "/x/",
        io.BytesIO(b"y"),
        HTTP_TRANSFER_ENCODING="chunked",
        **{"wsgi.input_terminated": False},
    )
    assert status.startswith("411")


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "²"])
def test_a_length_is_a_number(length: str) -> None:
    assert call(BoundedBodies(echo), "/x/", io.BytesIO(b""), CONTENT_LENGTH=length)[0].startswith("400")


@pytest.mark.parametrize("path", ["/login/", "/api/v1/batches"])
def test_a_body_that_ends_early_is_refused(path: str) -> None:
    body = io.BytesIO(b"name=half")
    status, text = call(application, path, body, CONTENT_LENGTH="90", HTTP_HOST="localhost")
    assert status.startswith("400"), (status, text)
    assert path != "/login/" or text == b"The body ended too early.\n"
    if path.startswith("/api/"):
        assert json.loads(text)["code"] == "malformed_body"


def test_a_read_that_waits_too_long_is_refused() -> None:
    class Silent(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise TimeoutError  # as a socket does after its timeout

    status, _text = call(BoundedBodies(echo), "/x/", Silent(), HTTP_TRANSFER_ENCODING="chunked")
    assert status.startswith("408")


def test_only_slow_bodies_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_bodies, "CROWDED_SECONDS", 0.0)
    one, other = socket.socketpair()
    with one, other:
        overdue = ArrivingBody(one, free=-1.0)
        drip = ArrivingBody(one, free=30.0, received=10)
        slow = ArrivingBody(one, free=30.0, received=1_000)
        fast = ArrivingBody(one, free=30.0, received=10**9)
        with drip.waiting(), slow.waiting(), fast.waiting():
            time.sleep(0.05)
            bodies = [fast, slow, drip, overdue]
            assert slow_bodies.too_slow(bodies, queued=0) == [overdue]
            assert slow_bodies.too_slow(bodies, queued=2) == [overdue, drip]
            assert slow_bodies.too_slow(bodies, queued=9) == [overdue, drip, slow]


@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connection")
def test_a_chunked_put_stores_what_was_sent(settings: Settings, tmp_path: Path) -> None:
    connection = make_connection(make_account())
    address = local_file_links.make(connection.uid, "in/a.wav", 60, "put", None)
    path = address.removeprefix(settings.PUBLIC_URL)
    put = {"REQUEST_METHOD": "PUT", "HTTP_TRANSFER_ENCODING": "chunked", "HTTP_HOST": "localhost"}
    status, _text = call(application, path, io.BytesIO(b"s" * 5000), **put)
    assert status.startswith("200")
    stored = connection.store().stat("in/a.wav")
    assert stored is not None
    assert stored.size == 5000
    settings.MAX_MEDIA_BYTES = 3000
    status, _text = call(application, path, io.BytesIO(b"t" * 5000), **put)
    assert status.startswith("413")
    again = connection.store().stat("in/a.wav")
    assert again is not None
    assert again.version == stored.version
    status, _text = call(application, path, io.BytesIO(b""), REQUEST_METHOD="PUT", HTTP_HOST="localhost")
    assert status.startswith("411"), "never 0 bytes with 200"
