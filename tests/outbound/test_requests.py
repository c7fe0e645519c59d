"""Requests against real servers, good and bad."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable

import pytest

from speechportal.outbound.client import Response, check_endpoint, get, post
from speechportal.outbound.errors import (
    AddressNotAllowed,
    AnswerTooLarge,
    BadAnswer,
    ConnectionFailed,
    TimedOut,
    UnexpectedStatus,
)
from speechportal.outbound.transport import Policy
from tests.outbound.servers import OK, Server, allowing_loopback, answering, leading_to, serving

LOOPBACK = allowing_loopback()


def url(server: Server, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def test_post_sends_the_body_and_returns_the_answer() -> None:
    bodies = []

    def receive(stream: socket.socket, head: bytes) -> None:
        body = head.split(b"\r\n\r\n", 1)[1]
        while len(body) < 7:
            body += stream.recv(100)
        bodies.append(body)
        stream.sendall(b"HTTP/1.1 201 Created\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nok")

    with serving(receive) as server:
        answer = post(
            url(server, "/a b/é?q=ü&x=%41".replace(" ", "%20")), b"message", {"X-Id": "7"}, policy=LOOPBACK
        )
        head = server.heads[0].decode("ascii")
    assert (answer.status, answer.body, answer.truncated, answer.headers["x-a"]) == (
        201,
        b"ok",
        False,
        "1, 2",
    )
    assert bodies == [b"message"]
    assert head.startswith("POST /a%20b/%C3%A9?q=%C3%BC&x=%41 HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert "X-Id: 7\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head
    assert "Content-Length: 7\r\n" in head


def test_ipv6_loopback_where_allowed() -> None:
    with serving(answering(OK), host="::1") as server:
        assert post(f"http://[::1]:{server.port}/", b"", policy=LOOPBACK).body == b"hello"
        assert f"Host: [::1]:{server.port}\r\n".encode() in server.heads[0]


def test_it_connects_to_the_address_that_was_checked_and_asks_once() -> None:
    """DNS rebinding: a second DNS query would return another address, but there is none."""
    with serving(answering(OK)) as checked, serving(answering(OK), host="127.0.0.2") as rebound:
        asked = []

        def changing(_host: str, port: int) -> list[str]:
            asked.append(port)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        target = f"http://rebind.example:{checked.port}/"
        assert post(target, b"", policy=allowing_loopback(resolver=changing)).status == 200
        assert len(asked) == 1
        assert f"Host: rebind.example:{checked.port}\r\n".encode() in checked.heads[0]
        assert rebound.accepted == 0


def test_a_name_that_turns_inward_after_the_form_was_checked() -> None:
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    with serving(answering(OK)) as server:
        policy = Policy(http=True, ports=None, resolver=lambda _host, _port: next(answers))
        target = f"http://rebind.example:{server.port}/"
        check_endpoint(target, policy)
        with pytest.raises(AddressNotAllowed):
            post(target, b"", policy=policy)
        assert server.accepted == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with serving(answering(OK)) as inside:
        location = f"http://127.0.0.1:{inside.port}/"
        data = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        with serving(answering(data)) as server:
            assert post(url(server), b"", policy=LOOPBACK).status == status
            file = io.BytesIO()
            with pytest.raises(UnexpectedStatus) as caught:
                get(url(server), file, policy=LOOPBACK)
            assert caught.value.details == {"status": status}
            assert file.getvalue() == b""
        assert inside.accepted == 0


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(OK)) as proxy, serving(answering(OK)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(url(server), b"", policy=LOOPBACK).status == 200
        assert (proxy.accepted, server.accepted) == (0, 1)


def drip(server: Server, stream: socket.socket, data: bytes) -> None:
    for at in range(len(data)):
        stream.sendall(data[at : at + 1])
        if server.wait(0.1):
            return


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
    ],
    ids=["status", "headers", "body-to-the-end", "body-of-a-length"],
)
@pytest.mark.parametrize(
    "request_to",
    [
        lambda target: post(target, b"", policy=LOOPBACK, timeout=0.6),
        lambda target: get(target, io.BytesIO(), policy=LOOPBACK, timeout=0.6),
    ],
    ids=["post", "get"],
)
def test_a_slow_drip_ends_at_the_deadline(first: bytes, request_to: Callable[[str], Response]) -> None:
    def handler(stream: socket.socket, _head: bytes) -> None:
        stream.sendall(first)
        drip(server, stream, b"HTTP/1.1 200 OK" if not first else b"X-Slow: " + b"a" * 200)

    with serving(handler) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            request_to(url(server))
        assert 0.5 < time.monotonic() - begun < 3


def test_endless_provisional_answers_end_at_the_deadline() -> None:
    def handler(stream: socket.socket, _head: bytes) -> None:
        while not server.wait(0.05):
            stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with serving(handler) as server, pytest.raises(TimedOut):
        post(url(server), b"", policy=LOOPBACK, timeout=0.5)


def test_a_receiver_that_does_not_read_ends_at_the_deadline() -> None:
    def handler(_stream: socket.socket, _head: bytes) -> None:
        server.wait(120)

    with serving(handler) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            post(url(server), b"x" * 50_000_000, policy=LOOPBACK, timeout=0.6)
        assert time.monotonic() - begun < 3


def test_an_endless_body_is_cut_for_post_and_refused_for_get() -> None:
    sent = 0

    def handler(stream: socket.socket, _head: bytes) -> None:
        nonlocal sent
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 500_000_000:
            sent += stream.send(b"x" * 65536)

    with serving(handler) as server:
        answer = post(url(server), b"", policy=LOOPBACK, max_body=1000)
        assert (answer.status, answer.body, answer.truncated) == (200, b"x" * 1000, True)
        file = io.BytesIO()
        with pytest.raises(AnswerTooLarge):
            get(url(server), file, policy=LOOPBACK, max_body=100_000)
        assert len(file.getvalue()) <= 100_000
    assert sent < 100_000_000


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    file = io.BytesIO()
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001
    with serving(answering(data)) as server, pytest.raises(AnswerTooLarge):
        get(url(server), file, policy=LOOPBACK, max_body=1000)
    assert file.getvalue() == b""


def test_a_compressed_bomb_is_not_unpacked() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    with serving(answering(data)) as server:
        assert post(url(server), b"", policy=LOOPBACK).body == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize("chunked", [True, False])
def test_get_writes_a_file(chunked: bool) -> None:
    content = bytes(range(256)) * 4000
    head = b"HTTP/1.1 200 OK\r\nETag: x\r\n"
    if chunked:
        parts = [content[at : at + 5000] for at in range(0, len(content), 5000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + body
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(content) + content
    file = io.BytesIO()
    with serving(answering(data)) as server:
        answer = get(url(server), file, policy=LOOPBACK, max_body=len(content))
    assert file.getvalue() == content
    assert (answer.status, answer.size, answer.headers["etag"]) == (200, len(content), "x")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    ],
    ids=["cut", "cut-chunk", "not-http", "many-headers", "long-header"],
)
def test_a_broken_answer(data: bytes) -> None:
    with serving(answering(data)) as server, pytest.raises(BadAnswer):
        get(url(server), io.BytesIO(), policy=LOOPBACK)


def test_a_server_that_hangs_up() -> None:
    with serving(lambda _stream, _head: None) as server, pytest.raises(ConnectionFailed):
        post(url(server), b"", policy=LOOPBACK)


def test_nobody_listens() -> None:
    with serving(answering(OK)) as server:
        port = server.port
    with pytest.raises(ConnectionFailed) as caught:
        post(f"http://127.0.0.1:{port}/", b"", policy=LOOPBACK)
    assert caught.value.details == {"reason": "Connection refused"}


def test_the_second_address_is_tried_where_the_first_does_not_answer() -> None:
    with serving(answering(OK), host="127.0.0.1") as server:
        policy = allowing_loopback(resolver=leading_to("127.0.0.9", "127.0.0.1"))
        assert post(f"http://two.example:{server.port}/", b"", policy=policy).status == 200


def test_a_full_disk_is_not_taken_for_a_broken_connection() -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(28, "No space left on device")

    with serving(answering(OK)) as server, pytest.raises(OSError, match="No space left"):
        get(url(server), Full(), policy=LOOPBACK)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection"])
def test_headers_of_the_connection_are_not_the_callers(name: str) -> None:
    with pytest.raises(ValueError, match=name.lower()):
        post("http://127.0.0.1/", b"", {name: "x"}, policy=LOOPBACK)


def test_a_header_cannot_smuggle_another() -> None:
    with serving(answering(OK)) as server:
        with pytest.raises(ValueError, match="Invalid header"):
            post(url(server), b"", {"X-Id": "7\r\nX-Admin: 1"}, policy=LOOPBACK)
        assert not any(b"X-Admin" in head for head in server.heads)
