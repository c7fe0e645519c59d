"""Connections to SFTP servers: host keys, credentials, limits, and one cached connection per thread.

A server is identified by its host key, a parameter of the connection.
"""

from __future__ import annotations

import hashlib
import io
import socket
import threading
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, cast

import paramiko
from paramiko.sftp import CMD_WRITE, int64
from storages.backends.sftpstorage import SFTPStorage

from speechportal.outbound import errors as outbound
from speechportal.outbound import web_budget
from speechportal.outbound.transport import Deadline, connect
from speechportal.storage.endpoints import policy
from speechportal.storage.errors import HostKeyUnknown, WrongCredentials

CALL_SECONDS = 60.0
SLOWEST_BYTES = 32 * 1024
ANSWER_BYTES = 64 * 1024 * 1024  # limit of any response but a file; a listing has about 200 for each entry
REQUEST_BYTES = 32 * 1024  # of data in a request to write; servers accept no more
KEPT_CONNECTIONS = 8  # cached connections per thread
KEY_TYPES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True)
class SftpSettings:
    """Location and credentials of a folder."""

    host: str
    port: int
    username: str
    host_key: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    root: str = ""  # path on the server; ends with a slash


class GuardedSftpStorage(SFTPStorage):  # type: ignore[misc] # django-storages ships no types
    """django-storages' SFTP storage over a guarded socket, to a server with a known host key."""

    def __init__(self, given: SftpSettings) -> None:
        super().__init__(host=given.host, params={}, root_path=given.root, known_host_file=None)
        self.given = given
        self.deadline = Deadline(0)
        self.counted: _CountedSocket | None = None

    def _connect(self) -> None:
        given = self.given
        self.deadline = Deadline(web_budget.limited(CALL_SECONDS, given.host))
        self.counted = _CountedSocket(connect(given.host, given.port, policy(), self.deadline))
        transport = paramiko.Transport(cast("socket.socket", self.counted))
        transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = CALL_SECONDS
        try:
            transport.start_client(timeout=CALL_SECONDS)
            _check_host_key(given.host_key, transport.get_remote_server_key())
            if given.private_key:
                transport.auth_publickey(given.username, read_private_key(given.private_key))
            else:
                transport.auth_password(given.username, given.password)
            self._sftp = _Client.from_transport(transport)
            self._sftp.get_channel().settimeout(CALL_SECONDS)
        except BaseException:
            transport.close()
            self.deadline.close()
            raise
        self._ssh = _Open(transport)

    def allow(self, received: int = 0, sent: int = 0) -> None:
        """Extend the limits by another call: its time, and the bytes of its response and of a file."""
        seconds = CALL_SECONDS + (received + sent) / SLOWEST_BYTES
        self.deadline.restart(web_budget.limited(seconds, self.given.host, sent=sent / SLOWEST_BYTES))
        if self.counted is not None:
            self.counted.allow(ANSWER_BYTES + received + received // 8)

    def why_closed(self) -> outbound.OutboundError | None:
        """Return the error for which the portal closed the connection; ``None`` if it did not."""
        if self.counted is not None and self.counted.exceeded:
            return outbound.AnswerTooLarge(limit=ANSWER_BYTES)
        return outbound.TimedOut() if self.deadline.passed else None


class _Client(paramiko.SFTPClient):  # type: ignore[misc] # paramiko ships no types
    """SFTP client without two faults of paramiko's when a file is read ahead and another one is written.

    paramiko reads ahead in a thread of its own, without a lock: a packet that is sent in parts would have
    requests of that thread in its middle. And its pipelined writing discards the responses that it reads
    while it waits for another one: an error is lost, or the wait for a discarded response has no end.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._sending = threading.Lock()
        super().__init__(channel)

    def _send_packet(self, kind: int, packet: paramiko.Message) -> None:
        with self._sending:
            super()._send_packet(kind, packet)

    def write(self, file: paramiko.SFTPFile, offset: int, data: bytes) -> None:
        """Write ``data`` at ``offset``, in requests of 32 kB at once; returns when all are confirmed."""
        answers = _Answers()
        starts = range(0, len(data), REQUEST_BYTES)
        for start in starts:
            part = data[start : start + REQUEST_BYTES]
            self._async_request(answers, CMD_WRITE, file.handle, int64(offset + start), part)
        while len(answers.statuses) < len(starts):
            self._read_response()
        for status in answers.statuses:
            self._convert_status(status)


class _Answers:
    """Responses to pipelined requests, in the order of their arrival."""

    def __init__(self) -> None:
        self.statuses: list[paramiko.Message] = []

    def _async_response(self, _kind: int, status: paramiko.Message, _number: int) -> None:
        """Take a response; called by paramiko."""
        self.statuses.append(status)


class _CountedSocket:
    """Socket for paramiko that closes once the server has sent more than the limit."""

    def __init__(self, plain: socket.socket) -> None:
        self._plain = plain
        self._left = ANSWER_BYTES
        self.exceeded = False

    def allow(self, size: int) -> None:
        self._left = size

    def recv(self, size: int) -> bytes:
        data = self._plain.recv(size)
        self._left -= len(data)
        self.exceeded = self.exceeded or self._left < 0
        return b"" if self.exceeded else data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)


class _Open:
    """Minimal SSH client, with the methods that django-storages calls."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    def get_transport(self) -> paramiko.Transport:
        return self._transport

    def close(self) -> None:
        self._transport.close()


def fingerprint(key: bytes) -> str:
    """Fingerprint of a host key in OpenSSH's notation: ``SHA256:…``."""
    return "SHA256:" + b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _check_host_key(expected: str, found: paramiko.PKey) -> None:
    words = expected.split()
    if fingerprint(found.asbytes()) in words or found.get_base64() in words:
        return
    raise HostKeyUnknown(answer=fingerprint(found.asbytes()))


def read_private_key(text: str) -> paramiko.PKey:
    """Parse a private key (OpenSSH or PEM, no passphrase). Raises :class:`WrongCredentials`."""
    for kind in KEY_TYPES:
        try:
            return kind.from_private_key(io.StringIO(text.strip() + "\n"))
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise WrongCredentials


_local = threading.local()


def storage_for(given: SftpSettings) -> GuardedSftpStorage:
    """Return this thread's connection: on one connection, requests run one after the other."""
    known: dict[SftpSettings, GuardedSftpStorage] = _local.__dict__.setdefault("storages", {})
    if given not in known:
        while len(known) >= KEPT_CONNECTIONS:
            known.pop(next(iter(known))).close()
        known[given] = GuardedSftpStorage(given)
    return known[given]
