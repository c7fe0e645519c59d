"""Misbehaving servers on loopback, each in one way, and a certificate authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from speechportal.outbound.transport import Policy, Resolver

Handler = Callable[[socket.socket, bytes], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Server:
    """Answers each connection with ``handler``, which gets the socket and the head of the request."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.heads: list[bytes] = []
        self.accepted = 0
        self._handler = handler
        self._tls = tls
        self._closed = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(20)
            stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with stream:
                head = b""
                while b"\r\n\r\n" not in head and (data := stream.recv(4096)):
                    head += data
                self.heads.append(head)
                self._handler(stream, head)

    def wait(self, seconds: float) -> bool:
        """Pause a handler; true once the test is over."""
        return self._closed.wait(seconds)

    def close(self) -> None:
        self._closed.set()
        with suppress(OSError):  # Closing alone does not end an accept that waits.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def serving(handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(handler, host, tls)
    try:
        yield server
    finally:
        server.close()


def answering(data: bytes) -> Handler:
    def handler(stream: socket.socket, head: bytes) -> None:
        # Closing with something unread resets the connection, and the answer may be lost with it.
        sent = re.search(rb"Content-Length: (\d+)", head)
        left = (int(sent[1]) if sent else 0) - len(head.split(b"\r\n\r\n", 1)[-1])
        while left > 0 and (more := stream.recv(65536)):
            left -= len(more)
        stream.sendall(data)

    return handler


def leading_to(*addresses: str) -> Resolver:
    """Resolver with one fixed answer."""
    return lambda _host, _port: list(addresses)


def allowing_loopback(
    *, resolver: Resolver | None = None, ca_file: Path | None = None, http: bool = True
) -> Policy:
    networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
    ca = str(ca_file) if ca_file else None
    if resolver is None:
        return Policy(networks, http=http, ports=None, ca_file=ca)
    return Policy(networks, http=http, ports=None, ca_file=ca, resolver=resolver)


class Authority:
    """Certificate authority of a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / "authority.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(days=2))
        )

    def server_context(self, name: str, *, expired: bool = False) -> ssl.SSLContext:
        """TLS context of a server with a certificate for ``name`` (a host name or an address)."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        if expired:
            now = dt.datetime.now(dt.UTC)
            builder = x509.CertificateBuilder(
                issuer_name=self._name,
                subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
                public_key=key.public_key(),
                serial_number=x509.random_serial_number(),
                not_valid_before=now - dt.timedelta(days=2),
                not_valid_after=now - dt.timedelta(days=1),
            )
        alternative: x509.GeneralName = x509.DNSName(name)
        with suppress(ValueError):
            alternative = x509.IPAddress(ipaddress.ip_address(name))
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{name.replace(':', '_')}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context
