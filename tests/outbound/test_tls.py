"""TLS: the certificate is checked against the name, on the address that was checked."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import warnings
from pathlib import Path

import pytest

from speechportal.outbound.client import post
from speechportal.outbound.errors import NoTrust, TimedOut
from tests.outbound.servers import OK, Authority, allowing_loopback, answering, leading_to, serving

TO_LOOPBACK = leading_to("127.0.0.1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_right_name(authority: Authority) -> None:
    names: list[str | None] = []
    context = authority.server_context("hooks.example.com")
    context.set_servername_callback(lambda _socket, name, _context: names.append(name))
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file, http=False)
    with serving(answering(OK), tls=context) as server:
        answer = post(f"https://hooks.example.com:{server.port}/", b"{}", policy=policy)
        assert f"Host: hooks.example.com:{server.port}\r\n".encode() in server.heads[0]
    assert (answer.status, answer.body) == (200, b"hello")
    assert names == ["hooks.example.com"]


def test_an_international_name(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    with serving(answering(OK), tls=authority.server_context("xn--bcher-kva.example")) as server:
        assert post(f"https://Bücher.example:{server.port}/", b"", policy=policy).status == 200


def test_an_address_in_the_certificate(authority: Authority) -> None:
    policy = allowing_loopback(ca_file=authority.file)
    with serving(answering(OK), tls=authority.server_context("127.0.0.1")) as server:
        assert post(f"https://127.0.0.1:{server.port}/", b"", policy=policy).status == 200


@pytest.mark.parametrize("shown", ["other.example.com", "127.0.0.1", "example.com"])
def test_a_wrong_name(authority: Authority, shown: str) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    with serving(answering(OK), tls=authority.server_context(shown)) as server:
        with pytest.raises(NoTrust, match="Hostname mismatch"):
            post(f"https://hooks.example.com:{server.port}/", b"secret", policy=policy)
        assert server.heads == []


def test_an_unknown_authority(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK)
    with serving(answering(OK), tls=authority.server_context("hooks.example.com")) as server:
        with pytest.raises(NoTrust, match="unable to get local issuer"):
            post(f"https://hooks.example.com:{server.port}/", b"", policy=policy)
        assert server.heads == []


def test_an_expired_certificate(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    context = authority.server_context("hooks.example.com", expired=True)
    with serving(answering(OK), tls=context) as server, pytest.raises(NoTrust, match="expired"):
        post(f"https://hooks.example.com:{server.port}/", b"", policy=policy)


def test_a_server_that_speaks_no_tls(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_plainly() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(OK)

        thread = threading.Thread(target=answer_plainly)
        thread.start()
        with pytest.raises(NoTrust):
            post(f"https://hooks.example.com:{listener.getsockname()[1]}/", b"", policy=policy)
        thread.join()


def test_a_server_that_never_ends_its_handshake(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    with serving(answering(OK)) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            post(f"https://hooks.example.com:{server.port}/", b"", policy=policy, timeout=0.6)
        assert time.monotonic() - begun < 3


def test_a_drip_inside_tls_ends_at_the_deadline(authority: Authority) -> None:
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)

    def drip(stream: socket.socket, _head: bytes) -> None:
        stream.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.wait(0.1):
            stream.sendall(b"x")

    with serving(drip, tls=authority.server_context("hooks.example.com")) as server:
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            post(f"https://hooks.example.com:{server.port}/", b"", policy=policy, timeout=0.6)
        assert time.monotonic() - begun < 3


def test_old_tls_is_refused(authority: Authority) -> None:
    context = authority.server_context("hooks.example.com")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Deprecated on purpose: the test is that nobody talks to such a server.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    policy = allowing_loopback(resolver=TO_LOOPBACK, ca_file=authority.file)
    with serving(answering(OK), tls=context) as server, pytest.raises(NoTrust):
        post(f"https://hooks.example.com:{server.port}/", b"", policy=policy)
