"""Endpoint policy of storages: addresses are checked once and connected to as checked."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from speechportal.storage import gateway
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.endpoints import check_endpoint
from speechportal.storage.errors import (
    ConnectionRefused,
    ForbiddenEndpoint,
    ForbiddenPort,
    HostUnknown,
    InsecureEndpoint,
    TlsFailed,
)
from speechportal.storage.providers import Provider

HOST = "storage.example.com"
PUBLIC = "93.184.216.34"
Names = Callable[..., list[str]]


class Server(ThreadingHTTPServer):
    """Empty S3 server that records the host names of its requests."""

    asked: list[str]


class Nothing(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.server.asked.append(self.headers["Host"])
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Nothing)
    running.asked = []
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Set the DNS answers for HOST, one after the other; the last one stays."""
    real = socket.getaddrinfo

    def answer(*answers: list[str]) -> list[str]:
        left, questions = list(answers), list[str]()

        def ask(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            if host != HOST:
                return real(host, port, *args, **kwargs)
            questions.append(host)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            if not addresses:
                raise socket.gaierror(socket.EAI_NONAME, "no such name")
            return [each for address in addresses for each in real(address, port, *args, **kwargs)]

        monkeypatch.setattr(socket, "getaddrinfo", ask)
        return questions

    return answer


def store(url: str) -> ObjectStore:
    return gateway.open_s3(
        provider=Provider.S3,
        endpoint_url=url,
        region="us-east-1",
        bucket="bucket",
        root_path="",
        access_key="key",
        secret="secret",
    )


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0177.0.0.1", "127.1"),
        *("10.0.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "168.63.129.16", "0"),
        *("[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    ],
)
def test_an_endpoint_inside_is_refused(host: str, settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    with pytest.raises(ForbiddenEndpoint):
        check_endpoint(f"https://{host}:9000")
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True
    check_endpoint(f"http://{host}:9000")


def test_one_address_inside_refuses_the_name(names: Names, settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    names([PUBLIC, "127.0.0.1"])
    with pytest.raises(ForbiddenEndpoint):
        check_endpoint(f"http://{HOST}")


def test_schemes_and_ports_are_those_of_the_way_out(names: Names, settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    names([PUBLIC])
    for port in ("", ":9000", ":443"):
        check_endpoint(f"https://{HOST}{port}")
    with pytest.raises(ForbiddenPort):
        check_endpoint(f"https://{HOST}:22")
    settings.OUTBOUND_HTTP = False
    with pytest.raises(InsecureEndpoint):
        check_endpoint(f"http://{HOST}")
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True  # Then the operator's own network is trusted.
    check_endpoint(f"http://{HOST}:22")


def test_a_name_that_changes_its_answer_gains_nothing(
    names: Names, server: Server, settings: Settings
) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    settings.OUTBOUND_PORTS = []
    questions = names([PUBLIC], ["127.0.0.1"])
    opened = store(f"http://{HOST}:{server.server_port}")
    assert len(questions) == 1
    with pytest.raises(ForbiddenEndpoint) as caught:
        opened.stat("key")
    assert "private network" in str(caught.value)
    assert len(questions) > 1
    assert server.asked == []


def test_each_connection_asks_once_and_keeps_the_name(names: Names, server: Server) -> None:
    questions = names(["127.0.0.1"])
    opened = store(f"http://{HOST}:{server.server_port}")
    for _number in range(3):
        assert opened.stat("key") is None
    assert set(server.asked) == {f"{HOST}:{server.server_port}"}
    assert len(questions) == 1  # The connection is kept.


def test_where_one_address_does_not_answer_the_next_is_tried(names: Names, server: Server) -> None:
    names(["127.0.0.2", "127.0.0.1"])  # The server listens at the second alone.
    assert store(f"http://{HOST}:{server.server_port}").stat("key") is None
    assert server.asked


def test_faults_of_connecting_are_told_apart(names: Names, settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        names(["127.0.0.1", "127.0.0.2"])
        with pytest.raises(ConnectionRefused):
            store(f"http://{HOST}:{port}").stat("key")
    names(["127.0.0.1"], [])
    with pytest.raises(HostUnknown):
        store(f"http://{HOST}:{port}").stat("key")
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    names([])
    with pytest.raises(HostUnknown):
        check_endpoint(f"http://{HOST}")
    with pytest.raises(HostUnknown):
        check_endpoint(f"http://{'x' * 70}.example.com")


def test_a_certificate_is_asked_for_by_name(names: Names) -> None:
    """SNI has the host name, not the address that is connected to."""
    names(["127.0.0.1"])
    wanted: list[str | None] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def shake_hands() -> None:
            while True:
                try:
                    plain, _address = listening.accept()
                except OSError:
                    return
                with plain:
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                    context.sni_callback = lambda _socket, name, _context: wanted.append(name)
                    with pytest.raises(ssl.SSLError):  # It has no certificate to show.
                        context.wrap_socket(plain, server_side=True)

        thread = threading.Thread(target=shake_hands, daemon=True)
        thread.start()
        with pytest.raises(TlsFailed):
            store(f"https://{HOST}:{listening.getsockname()[1]}").stat("key")
        listening.shutdown(socket.SHUT_RDWR)
    assert set(wanted) == {HOST}
