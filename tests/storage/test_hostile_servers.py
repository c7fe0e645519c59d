"""Malicious S3 servers that are slow, endless or inconsistent: each call ends, at a low cost."""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from speechportal.storage import gateway
from speechportal.storage.backends import s3_guard
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.errors import (
    FileTooLarge,
    Misconfigured,
    StorageError,
    StorageFault,
    TimedOut,
    Unreachable,
)
from speechportal.storage.providers import Provider
from tests.outbound.servers import Handler, Server, answering, serving

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\n"
FILE = HEAD + b'ETag: "e"\r\nLast-Modified: Thu, 26 Nov 2026 12:00:00 GMT\r\n'
Use = Callable[[ObjectStore], object]


@pytest.fixture(autouse=True)
def private_endpoints(settings: Settings) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_guard, "CALL_SECONDS", 1.0)
    monkeypatch.setattr(s3_guard, "ANSWER_BYTES", MIB)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


def store(server: Server) -> ObjectStore:
    return gateway.open_s3(
        provider=Provider.S3,
        endpoint_url=f"http://127.0.0.1:{server.port}",
        region="us-east-1",
        bucket="bucket",
        root_path="",
        access_key="key",
        secret="secret",
    )


def sending(head: bytes, chunk: bytes, pause: float = 0.0) -> Handler:
    """Send ``head``, then ``chunk`` repeatedly until the client disconnects."""

    def handler(stream: socket.socket, _head: bytes) -> None:
        stream.sendall(head)
        for _ in range(100_000):
            stream.sendall(chunk)
            if pause:
                time.sleep(pause)

    return handler


def listing(opened: ObjectStore) -> object:
    return list(opened.list_level(""))


def reading(opened: ObjectStore) -> object:
    return opened.open("key").read()


def stating(opened: ObjectStore) -> object:
    return opened.stat("key")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("use", [listing, reading, stating])
@pytest.mark.parametrize("head", [b"", HEAD + b"X-Slow: ", FILE + b"Content-Length: 100000\r\n\r\n"])
def test_a_dripping_server_ends_at_the_deadline_of_the_call(use: Use, head: bytes) -> None:
    if use is stating and head.endswith(b"\r\n\r\n"):
        pytest.skip("the answer to HEAD ends with its head")
    begun = time.monotonic()
    with serving(sending(head, b"x", 0.05)) as server, pytest.raises((TimedOut, Unreachable)):
        use(store(server))
    assert time.monotonic() - begun < 8


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("status", [b"200 OK", b"403 Forbidden", b"500 Oops"])
@pytest.mark.parametrize("use", [listing, reading])
def test_an_endless_answer_is_cut_at_the_limit(use: Use, status: bytes) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\n\r\n<ListBucketResult>"
    with serving(sending(head, b"<Contents>" * 6000)) as server:
        opened = store(server)
        tracemalloc.start()
        try:
            with pytest.raises(StorageError):
                use(opened)
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 24 * MIB


def test_a_file_longer_than_it_said_is_not_read_further(folder: Path) -> None:
    head = FILE + b"Content-Length: 1000\r\n\r\n"
    with serving(sending(head, b"y" * 65536)) as server:
        file = store(server).download("key", folder / "file")
    assert (file.size, (folder / "file").stat().st_size) == (1000, 1000)


def test_a_file_without_a_length_is_refused(folder: Path) -> None:
    with serving(sending(FILE + b"\r\n", b"y" * 65536)) as server, pytest.raises(StorageFault) as caught:
        store(server).download("key", folder / "file")
    assert "Content-Length" in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_file_that_ends_early_leaves_nothing(folder: Path) -> None:
    answer = FILE + b"Content-Length: 1000\r\nConnection: close\r\n\r\n" + b"y" * 10
    with serving(answering(answer)) as server, pytest.raises(Unreachable):
        store(server).download("key", folder / "file")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("use", [listing, reading, stating])
def test_a_redirect_without_a_region_ends_cleanly(use: Use, status: int) -> None:
    answer = (
        f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n"
    )
    with serving(answering(answer.encode())) as server:
        with pytest.raises(Misconfigured) as caught:
            use(store(server))
        assert len(server.heads) == 1
    assert str(status) in str(caught.value)


def test_a_kept_connection_outlives_the_deadlines_of_its_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_guard, "CALL_SECONDS", 0.5)
    empty = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

    def handler(stream: socket.socket, head: bytes) -> None:
        while head:
            stream.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(empty) + empty)
            head = stream.recv(4096)

    with serving(handler) as server:
        opened = store(server)
        for _number in range(3):
            assert listing(opened) == []
            time.sleep(0.6)
        assert server.accepted == 1


@pytest.mark.parametrize("head", ["", "x-amz-bucket-region: eu-west-1\r\n", "x-amz-bucket-region:\r\n"])
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_with_a_region_is_not_followed_either(status: int, head: str) -> None:
    answer = (
        f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:9/\r\n{head}Content-Length: 0\r\n"
        "Connection: close\r\n\r\n"
    )
    with serving(answering(answer.encode())) as server:
        for use in (listing, reading, stating):
            with pytest.raises(Misconfigured):
                use(store(server))
        assert len(server.heads) == 3


ENTITIES = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'


@pytest.mark.parametrize("body", [b"<x>" + b"<a/>" * 200_000, ENTITIES], ids=["many tags", "entities"])
def test_xml_that_would_take_the_memory_is_not_parsed(body: bytes) -> None:
    answer = HEAD + b"Content-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with serving(answering(answer)) as server:
        opened = store(server)
        tracemalloc.start()
        with pytest.raises(StorageError):
            listing(opened)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 30 * MIB


def test_a_file_larger_than_listed_is_not_fetched(folder: Path) -> None:
    answer = FILE + b"Content-Length: 4000000000\r\n\r\n"
    with serving(sending(answer, b"y" * MIB)) as server, pytest.raises(FileTooLarge):
        store(server).download("key", folder / "file", limit=1000)
    assert list(folder.iterdir()) == []
