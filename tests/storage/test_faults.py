"""Storage errors: every fault maps to its own error, for every operation."""

from __future__ import annotations

import shutil
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from speechportal.storage import gateway
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.s3 import S3Store
from speechportal.storage.embedded.swift import SwiftServer
from speechportal.storage.errors import (
    AccessDenied,
    BucketMissing,
    ConnectionRefused,
    FolderMissing,
    HostUnknown,
    Misconfigured,
    NotFound,
    StorageError,
    StorageFault,
    StorageFull,
    Throttled,
    TlsFailed,
    Unreachable,
    WrongCredentials,
    sentence_of,
)
from speechportal.storage.models import Connection
from speechportal.storage.providers import Provider

Opener = Callable[..., ObjectStore]
Use = Callable[[ObjectStore, Path], object]
USES: dict[str, Use] = {
    "list": lambda store, _folder: list(store.list_level("")),
    "stat": lambda store, _folder: store.stat("key"),
    "open": lambda store, _folder: store.open("key"),
    "download": lambda store, folder: store.download("key", folder / "file"),
    "put": lambda store, _folder: store.put("key", b"x"),
    "copy": lambda store, _folder: store.copy("key", "target"),
    "move": lambda store, _folder: store.move("key", "target"),
    "delete": lambda store, _folder: store.delete("key"),
    "create folder": lambda store, _folder: store.create_folder("folder/"),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES.keys())


@every_use
@pytest.mark.parametrize(
    "wrong", [{"secret": "not the secret"}, {"access_key": "t9:admin"}], ids=["secret", "key"]
)
def test_wrong_keys_are_told(swift_store: Opener, use: Use, wrong: dict[str, str], tmp_path: Path) -> None:
    swift_store().put("key", b"x")
    with pytest.raises(WrongCredentials) as caught:
        use(swift_store(**wrong), tmp_path)
    assert caught.value.permanent
    assert "does not accept the access key or its secret" in str(caught.value)
    assert swift_store().stat("key") is not None


@every_use
def test_another_tenant_s_bucket_is_not_there(
    swift: SwiftServer, swift_store: Opener, use: Use, tmp_path: Path
) -> None:
    swift_store().put("key", b"x")
    stranger = swift_store(access_key=swift.access_key("t2"), secret=swift.secret("t2"))
    with pytest.raises(BucketMissing):
        use(stranger, tmp_path)
    assert swift_store().stat("key") is not None


@every_use
@pytest.mark.parametrize("server", ["moto", "swift"])
def test_a_bucket_that_is_gone_is_told(
    server: str, use: Use, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    open_store: Opener = request.getfixturevalue(f"{server}_store")
    gone = open_store()
    assert isinstance(gone, S3Store)
    gone._client.delete_bucket(Bucket=gone._given.bucket)
    with pytest.raises(BucketMissing) as caught:
        use(open_store(), tmp_path)
    assert caught.value.permanent


@every_use
def test_a_local_folder_that_is_gone_is_told_and_not_made(
    local_connection: Connection, use: Use, tmp_path: Path
) -> None:
    """A disk that is not mounted must not be mistaken for an empty one."""
    shutil.rmtree(local_connection.place)
    with pytest.raises(FolderMissing) as caught:
        use(local_connection.store(), tmp_path)
    assert caught.value.key == ""
    assert not Path(local_connection.place).exists()


def test_the_check_ends_at_what_is_wrong(swift_store: Opener) -> None:
    findings = swift_store(secret="not the secret").check()
    assert [finding.action for finding in findings] == ["list"]
    assert isinstance(findings[0].error, WrongCredentials)
    assert "Enter them again" in findings[0].message


class Played(ThreadingHTTPServer):
    """Server with one response to everything; ``status`` 0 closes the connection at once."""

    daemon_threads = True
    status = 503
    code = "SlowDown"
    asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: Played
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.server.asked += 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status == 0:
            # A reset, not an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        body = f"<Error><Code>{self.server.code}</Code><Message>m</Message></Error>".encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer  # noqa: N815 - http.server's names

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.fixture
def played() -> Iterator[Played]:
    with Played(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def s3_at(endpoint_url: str) -> ObjectStore:
    return gateway.open_s3(
        provider=Provider.S3,
        endpoint_url=endpoint_url,
        region="us-east-1",
        bucket="bucket",
        root_path="",
        access_key="access",
        secret="secret",
    )


def url_of(played: Played) -> str:
    return f"http://127.0.0.1:{played.server_address[1]}"


@pytest.mark.parametrize(
    ("status", "code", "kind", "permanent"),
    [
        (503, "SlowDown", Throttled, False),
        (500, "InternalError", StorageFault, False),
        (429, "TooManyRequests", Throttled, False),
        (0, "", Unreachable, False),
        (403, "AccessDenied", AccessDenied, True),
        (404, "NoSuchBucket", BucketMissing, True),
        (507, "InsufficientStorage", StorageFull, True),
        (400, "AuthorizationHeaderMalformed", Misconfigured, True),
    ],
)
def test_an_answer_is_transient_or_permanent(
    played: Played, status: int, code: str, kind: type[StorageError], permanent: bool
) -> None:
    played.status, played.code = status, code
    with pytest.raises(kind) as caught:
        list(s3_at(url_of(played)).list_level(""))
    assert caught.value.permanent is permanent
    assert played.asked == (1 if permanent else 3)  # What may pass is tried again at once, but not for ever.
    said = sentence_of(caught.value.code, caught.value.details)
    assert f"{said} {caught.value.advice}" == str(caught.value)


@every_use
def test_access_that_is_denied_is_told(played: Played, use: Use, tmp_path: Path) -> None:
    played.status, played.code = 403, "AccessDenied"
    with pytest.raises(AccessDenied) as caught:
        use(s3_at(url_of(played)), tmp_path)
    assert "list, read, write and delete" in str(caught.value)


def test_a_server_that_hangs_up_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """The result is neither a part of a file nor a permanent error."""

    class Short(_Answers):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in (
                ("Content-Length", "1000000"),
                ("ETag", '"e"'),
                ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"x" * 1000)
            self.close_connection = True

    with Played(("127.0.0.1", 0), Short) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        with pytest.raises(Unreachable) as caught:
            s3_at(url_of(server)).download("key", tmp_path / "file")
        server.shutdown()
    assert not caught.value.permanent
    assert list(tmp_path.glob("*file*")) == []
    assert list(tmp_path.glob(".speechportal*")) == []


def test_nobody_there(played: Played) -> None:
    port = played.server_address[1]
    played.shutdown()
    played.server_close()
    with pytest.raises(ConnectionRefused) as caught:
        list(s3_at(f"http://127.0.0.1:{port}").list_level(""))
    assert not caught.value.permanent


def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(HostUnknown):
        list(s3_at("http://no-such-host.invalid").list_level(""))


def test_a_server_without_encryption_behind_https(played: Played) -> None:
    with pytest.raises(TlsFailed):
        list(s3_at(f"https://127.0.0.1:{played.server_address[1]}").list_level(""))


def test_a_file_that_is_not_there_is_no_fault_of_the_bucket(moto_store: Opener, swift_store: Opener) -> None:
    for open_store in (moto_store, swift_store):
        assert open_store().stat("nothing") is None
        with pytest.raises(NotFound):
            open_store().open("nothing")
