"""Malicious Azure, Google and SFTP servers: web requests end soon, and others go on."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from pytest_django.fixtures import Settings

from speechportal.outbound import requests_adapter, web_budget
from speechportal.outbound.web_budget import Budget, Slots, WebBudgetMiddleware
from speechportal.storage.backends import azure, sftp_connection
from speechportal.storage.backends.azure import AzureSettings, AzureStore
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.gcs import GcsSettings, GcsStore
from speechportal.storage.backends.sftp import SftpStore
from speechportal.storage.backends.sftp_connection import SftpSettings
from speechportal.storage.errors import FileTooLarge, StorageBusy, StorageError, TimedOut, Unreachable
from tests.fixtures_remote import AZURE_KEY, PASSWORD, USER
from tests.outbound.servers import Handler, answering, serving

MIB = 1024 * 1024
SECONDS = 1.5
Use = Callable[[ObjectStore], object]
HEAD = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\n"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True
    monkeypatch.setattr(web_budget, "slots", Slots())
    monkeypatch.setattr(web_budget, "SECONDS", SECONDS)
    monkeypatch.setattr(web_budget, "PATIENCE", 0.2)


def azure_store(port: int) -> ObjectStore:
    url = f"http://127.0.0.1:{port}/calls"
    return AzureStore(AzureSettings(url, "calls", AZURE_KEY, "inputs"), lambda *_: "")


def gcs_store(port: int) -> ObjectStore:
    return GcsStore(GcsSettings("inputs", "", f"http://127.0.0.1:{port}"), lambda *_: "")


def sftp_store(port: int, host_key: str = "SHA256:x") -> ObjectStore:
    return SftpStore(SftpSettings("127.0.0.1", port, USER, host_key, PASSWORD, root="/"), lambda *_: "")


def listing(store: ObjectStore) -> object:
    return list(store.list_level(""))


def stating(store: ObjectStore) -> object:
    return store.stat("key")


def by_web(use: Callable[[], object], account: str = "acc_a") -> object:
    """Call ``use`` as a view of an account does."""

    def view(_request: object) -> HttpResponse:
        web_budget.name_account(account)
        results.append(use())
        return HttpResponse()

    results: list[object] = []
    WebBudgetMiddleware(view)(RequestFactory().get("/"))
    return results[0]


def sending(head: bytes, chunk: bytes, pause: float = 0.0) -> Handler:
    def handler(stream: socket.socket, _head: bytes) -> None:
        stream.sendall(head)
        for _ in range(100_000):
            stream.sendall(chunk)
            time.sleep(pause)

    return handler


HTTP_STORES = pytest.mark.parametrize("make", [azure_store, gcs_store])


@HTTP_STORES
@pytest.mark.parametrize("use", [listing, stating])
@pytest.mark.parametrize("head", [b"", HEAD + b"X-Slow: ", HEAD + b"Content-Length: 100000\r\n\r\n"])
def test_a_dripping_server_ends_with_the_time_of_the_request(
    make: Callable[[int], ObjectStore], use: Use, head: bytes
) -> None:
    if make is azure_store and use is stating and head.endswith(b"\r\n\r\n"):
        pytest.skip("the answer to HEAD ends with its head")
    begun = time.monotonic()
    with serving(sending(head, b"x", 0.05)) as server, pytest.raises((TimedOut, Unreachable)):
        by_web(lambda: use(make(server.port)))
    assert SECONDS / 2 < time.monotonic() - begun < SECONDS + 2


@HTTP_STORES
def test_a_web_request_does_not_wait_for_retries(make: Callable[[int], ObjectStore]) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    begun = time.monotonic()
    with serving(answering(busy)) as server:
        with pytest.raises(StorageError) as caught:
            by_web(lambda: listing(make(server.port)))
        assert len(server.heads) == 1
    assert caught.value.code == "throttled", "the reason is said"
    assert time.monotonic() - begun < SECONDS


@HTTP_STORES
@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden"])
def test_an_endless_answer_is_cut_at_the_limit(
    make: Callable[[int], ObjectStore], status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_adapter, "ANSWER_BYTES", MIB)
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\n\r\n<?xml version='1.0'?><a>"
    with serving(sending(head, b"<b>" * 20_000)) as server:
        tracemalloc.start()
        try:
            with pytest.raises(StorageError):
                by_web(lambda: listing(make(server.port)))
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 24 * MIB


@pytest.mark.parametrize(
    ("make", "content_type", "body"),
    [
        (azure_store, b"application/xml", b"<x>" + b"<a/>" * 200_000 + b"</x>"),
        (azure_store, b"application/xml", b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'),
        (gcs_store, b"application/json", b'{"items": [' + b"[]," * 200_000 + b"[]]}"),
    ],
)
def test_what_would_take_the_memory_is_not_parsed(
    make: Callable[[int], ObjectStore], content_type: bytes, body: bytes
) -> None:
    answer = HEAD + b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (content_type, len(body)) + body
    with serving(answering(answer)) as server:
        store = make(server.port)
        tracemalloc.start()
        with pytest.raises(StorageError):
            listing(store)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 24 * MIB


def described(stream: socket.socket, head: bytes, sent: bytes, said: int) -> None:
    """A file of 1,000 bytes as both services describe it; asked for it, ``sent`` again and again."""
    modified = b"Last-Modified: Thu, 26 Nov 2026 12:00:00 GMT\r\n"
    entry = {"name": "key", "size": "1000", "generation": "7", "updated": "2026-11-26T12:00:00Z"}
    document = json.dumps(entry).encode()
    if head.startswith(b"HEAD"):
        blob = b"x-ms-blob-type: BlockBlob\r\nx-ms-creation-time: Thu, 26 Nov 2026 12:00:00 GMT\r\n"
        stream.sendall(HEAD + modified + blob + b'ETag: "7"\r\nContent-Length: 1000\r\n\r\n')
    elif b"alt=media" not in head and b"/storage/v1/" in head:
        stream.sendall(
            HEAD + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(document) + document
        )
    else:
        part = HEAD.replace(b"200 OK", b"206 Partial Content") + modified + b'ETag: "7"\r\n'
        part += b"Content-Range: bytes 0-999/1000\r\nContent-Type: audio/wav\r\n"
        sending(part + b"Content-Length: %d\r\n\r\n" % said, sent)(stream, head)


@HTTP_STORES
@pytest.mark.parametrize("said", [1000, 4_000_000_000])
def test_a_file_longer_than_listed_is_not_read_further(
    make: Callable[[int], ObjectStore], said: int, tmp_path: Path
) -> None:
    def handler(stream: socket.socket, head: bytes) -> None:
        described(stream, head, b"y" * 65536, said)

    with serving(handler) as server:
        store = make(server.port)
        tracemalloc.start()
        try:
            file = store.download("key", tmp_path / "file", limit=2000)
            assert (file.size, (tmp_path / "file").stat().st_size) == (1000, 1000)
            assert said == 1000
        except StorageError:
            assert said != 1000
            assert not (tmp_path / "file").exists()
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        with pytest.raises(FileTooLarge):
            store.download("key", tmp_path / "other", limit=999)
    assert peak < 32 * MIB


def test_workers_still_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure.WorkersRetry, "get_backoff_time", lambda *_: 0.0)
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with serving(answering(busy)) as server:
        with pytest.raises(StorageError):
            listing(azure_store(server.port))
        assert len(server.heads) == 3


# --- SFTP


@contextmanager
def ssh_serving(handler: type[asyncssh.SFTPServer]) -> Iterator[tuple[int, str]]:
    """Port and host key of a server that accepts every login."""
    key, loop = asyncssh.generate_private_key("ssh-ed25519"), asyncio.new_event_loop()
    ready: list[int] = []

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return True

    async def serve() -> None:
        server = await asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=handler
        )
        ready.append(server.sockets[0].getsockname()[1])

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not ready:
        time.sleep(0.02)
    try:
        yield ready[0], key.export_public_key().decode().strip()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class Endless(asyncssh.SFTPServer):
    """SFTP server with an endless folder listing, and a file that sends no data."""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        number = 0
        while True:
            number += 1
            name = b"%0200d" % number
            yield asyncssh.SFTPName(name, name, asyncssh.SFTPAttrs(permissions=0o100644, size=1, mtime=1))

    def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(permissions=0o100644, size=1000, mtime=1)

    stat = lstat

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return self.lstat(b"")

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        return object()

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        await asyncio.sleep(60)
        return b""

    def close(self, file_obj: object) -> None:
        pass


def test_an_endless_folder_is_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_connection, "ANSWER_BYTES", MIB)
    with ssh_serving(Endless) as (port, host_key):
        with pytest.raises(StorageError) as caught:
            listing(sftp_store(port, host_key))
        assert "more than 1048576 bytes" in str(caught.value)


def test_a_silent_file_ends_with_the_time_of_the_request() -> None:
    with ssh_serving(Endless) as (port, host_key):
        store = sftp_store(port, host_key)
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            by_web(lambda: store.open("key").read())
        assert time.monotonic() - begun < SECONDS + 3


def test_a_streamed_file_is_within_the_budget_and_holds_no_slot_meanwhile() -> None:
    with ssh_serving(Endless) as (port, host_key):
        store = sftp_store(port, host_key)

        def view(_request: object) -> StreamingHttpResponse:
            web_budget.name_account("acc_a")
            stream = store.open("key")
            return StreamingHttpResponse(stream.read(10) for _ in range(2))

        response: Any = WebBudgetMiddleware(view)(RequestFactory().get("/"))
        other = Budget(account="acc_a")
        other.begin("127.0.0.1")  # Nothing of it is being read.
        with pytest.raises(StorageBusy):
            next(iter(response))
        other.end()
        response = WebBudgetMiddleware(view)(RequestFactory().get("/"))
        begun = time.monotonic()
        with pytest.raises(TimedOut):
            list(response)
        assert time.monotonic() - begun < SECONDS + 3


def test_a_dripping_greeting_ends_with_the_time_of_the_request() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        client, _address = listener.accept()
        with client:
            try:
                for _ in range(1000):
                    client.sendall(b"x")
                    time.sleep(0.05)
            except OSError:
                pass

    threading.Thread(target=drip, daemon=True).start()
    begun = time.monotonic()
    with listener, pytest.raises((TimedOut, Unreachable)):
        by_web(lambda: listing(sftp_store(listener.getsockname()[1])))
    assert time.monotonic() - begun < SECONDS + 3


def test_few_connections_are_kept() -> None:
    with ssh_serving(asyncssh.SFTPServer) as (port, host_key):
        stores = []
        for number in range(sftp_connection.KEPT_CONNECTIONS + 3):
            given = SftpSettings("127.0.0.1", port, f"user{number}", host_key, PASSWORD, root="/")
            SftpStore(given, lambda *_: "").stat("key")
            stores.append(sftp_connection.storage_for(given))
        assert not stores[0]._ssh.get_transport().is_active()
        assert stores[-1]._ssh.get_transport().is_active()


# --- Beside healthy ones


@pytest.mark.parametrize("make", [azure_store, gcs_store, sftp_store])
def test_others_go_on_beside_a_dripping_server(
    make: Callable[[int], ObjectStore], gcs_url: str, gcs_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_budget, "SECONDS", 4.0)
    healthy = GcsStore(GcsSettings(gcs_bucket, "", gcs_url.replace("127.0.0.1", "localhost")), lambda *_: "")
    failed: list[object] = []

    def drip(port: int) -> None:
        try:
            by_web(lambda: listing(make(port)), "acc_slow")
        except StorageError as error:
            failed.append(error)

    with serving(sending(HEAD + b"X-Slow: ", b"x", 0.05)) as server:
        slow = threading.Thread(target=drip, args=(server.port,))
        slow.start()
        time.sleep(0.5)
        begun = time.monotonic()
        with pytest.raises(StorageBusy):  # the same account, whatever it asks
            by_web(lambda: listing(healthy), "acc_slow")
        with pytest.raises(StorageBusy):  # the same server, whoever asks
            by_web(lambda: listing(make(server.port)), "acc_other")
        for _ in range(3):
            assert by_web(lambda: listing(healthy), "acc_fine") == []
        assert time.monotonic() - begun < 3
        assert slow.is_alive()
        slow.join(10)
    assert [type(error) for error in failed] == [TimedOut]
