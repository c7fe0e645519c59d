"""Azure, Google Cloud Storage and SFTP as kinds of connections: parameters, faults, guards and links."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncssh
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.exceptions import ValidationError
from django.utils import timezone

from speechportal.outbound.requests_adapter import GuardedAdapter, guarded_session
from speechportal.storage import kinds, services
from speechportal.storage.backends import kind_remote, sftp_connection
from speechportal.storage.backends.base import ObjectStore
from speechportal.storage.backends.gcs import GcsSettings, GcsStore
from speechportal.storage.backends.remote import Blob
from speechportal.storage.errors import (
    AccessDenied,
    BucketMissing,
    ConnectionRefused,
    ExtraMissing,
    FolderMissing,
    ForbiddenEndpoint,
    HostKeyUnknown,
    Misconfigured,
    NotFound,
    ObjectEncrypted,
    ObjectLocked,
    StorageError,
    TimedOut,
    WrongCredentials,
)
from speechportal.storage.models import Connection
from tests.factories import make_account
from tests.fixtures_remote import OWNER, PASSWORD, USER, SftpServer, free_port
from tests.outbound.servers import answering, serving

Opener = Callable[..., ObjectStore]
pytestmark = pytest.mark.django_db
SFTP = {"host": "sftp.example.com", "username": USER, "host_key": "SHA256:x", "password": PASSWORD}


def key_of_service_account() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "portal@example.com", "private_key": pem.decode()}
    return json.dumps({**account, "token_uri": "http://169.254.169.254/token"})


@pytest.mark.parametrize(
    ("provider", "values", "place"),
    [
        ("azure", {"account_name": "calls", "bucket": "inputs", "account_key": "a2V5"}, "calls/inputs/"),
        ("gcs", {"bucket": "calls", "root_path": "/a/", "service_account": "{}"}, "calls/a/"),
        ("sftp", {**SFTP, "folder": "/upload"}, "sftp.example.com:22/upload/"),
    ],
)
def test_a_connection_is_made_from_what_the_kind_declares(
    provider: str, values: dict[str, str], place: str
) -> None:
    made = services.create_connection(account=make_account(), name="Calls", provider=provider, **values)
    stored = Connection.unscoped.get(pk=made.pk)
    assert stored.place == place
    secrets = [each.name for each in stored.kind.parameters if each.secret and each.name in values]
    assert secrets
    for name in secrets:
        assert stored.secrets()[name] == values[name]
        assert name not in stored.parameters


@pytest.mark.parametrize(
    ("provider", "values", "field"),
    [
        ("azure", {"account_name": "Calls!", "bucket": "inputs", "account_key": "k"}, "account_name"),
        ("azure", {"account_name": "calls", "bucket": "inputs"}, "account_key"),
        ("gcs", {"bucket": "calls"}, "service_account"),
        ("sftp", {**SFTP, "host": ""}, "host"),
        ("sftp", {**SFTP, "port": "99999"}, "port"),
        ("sftp", {**SFTP, "folder": "/a/../b"}, "folder"),
        ("sftp", {**SFTP, "folder": "sftp://example.com/a"}, "folder"),
        (
            "azure",
            {"account_name": "calls", "bucket": "calls", "account_key": "k", "root_path": "az://x"},
            "root_path",
        ),
        ("sftp", {**SFTP, "host_key": ""}, "host_key"),
    ],
)
def test_what_is_missing_or_wrong_is_said(provider: str, values: dict[str, str], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        services.create_connection(account=make_account(), name="Calls", provider=provider, **values)
    assert list(caught.value.message_dict) == [field]


@pytest.mark.parametrize("provider", ["azure", "gcs", "sftp"])
def test_a_kind_whose_library_is_missing_says_so(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kinds.kind_of(provider)
    assert isinstance(kind, kind_remote.RemoteKind)
    assert kind.is_available()
    monkeypatch.setattr(type(kind), "module", "not.installed.here")
    assert not kind.is_available()
    with pytest.raises(ExtraMissing, match=f"speechportal\\[{kind.extra}\\]"):
        kind.open({}, OWNER)


def test_the_portal_starts_without_the_libraries() -> None:
    """Their modules are imported only when a store is opened."""
    program = """
import sys
for name in ("azure", "google.cloud", "paramiko"):
    sys.modules[name] = None  # An import of it fails.
import django
django.setup()
from speechportal.storage import kinds
print(len(kinds.choices()))
"""
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "speechportal.settings"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True)
    assert int(done.stdout) == len(kinds.KINDS)


# --- SFTP


def test_a_private_key_opens_what_a_password_opens(sftp_store: Opener, sftp_server: SftpServer) -> None:
    store = sftp_store(password="", private_key=sftp_server.private_key)
    assert store.put("a.wav", b"sound").size == 5
    assert all(finding.ok for finding in store.check())


def test_wrong_credentials_and_another_server_are_refused(sftp_store: Opener) -> None:
    with pytest.raises(WrongCredentials):
        sftp_store(password="wrong").stat("a.wav")
    with pytest.raises(WrongCredentials):
        sftp_store(password="", private_key="no key").stat("a.wav")
    with pytest.raises(HostKeyUnknown, match="SHA256:"):
        sftp_store(host_key="SHA256:AAAA").stat("a.wav")


def test_a_fingerprint_is_enough(sftp_store: Opener, sftp_server: SftpServer) -> None:
    from base64 import b64decode

    fingerprint = sftp_connection.fingerprint(b64decode(sftp_server.host_key.split()[1]))
    assert sftp_store(host_key=fingerprint).stat("a.wav") is None


def test_a_server_that_is_away_and_a_folder_that_is_gone_are_told_apart(sftp_store: Opener) -> None:
    with pytest.raises(ConnectionRefused):
        sftp_store(port=str(free_port())).stat("a.wav")
    with pytest.raises((FolderMissing, StorageError)):
        list(sftp_store(folder="/not/there/").list_level(""))


def test_a_connection_that_was_cut_is_made_again(sftp_store: Opener) -> None:
    store = sftp_store()
    store.put("a.wav", b"sound")
    sftp_connection.storage_for(store._given)._ssh.close()  # type: ignore[attr-defined] # as a server that restarts does
    time.sleep(0.2)
    assert store.stat("a.wav") is not None


def test_no_private_address_is_reached_where_that_is_not_allowed(
    sftp_store: Opener, gcs_url: str, settings: Any
) -> None:
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = False
    with pytest.raises(ForbiddenEndpoint):
        sftp_store().stat("a.wav")
    with pytest.raises(ForbiddenEndpoint):  # The transport's own check: the endpoint's is passed by here.
        GcsStore(GcsSettings("calls", "", gcs_url), lambda *_: "").stat("a.wav")
    settings.OUTBOUND_HTTP, settings.OUTBOUND_PORTS = True, []
    values = {"endpoint_url": "http://169.254.169.254", "bucket": "calls", "service_account": "{}"}
    with pytest.raises(ForbiddenEndpoint):
        kinds.kind_of("gcs").open(values, OWNER)


# --- Google


def test_a_bucket_that_is_missing_is_told(gcs_store: Opener) -> None:
    with pytest.raises(BucketMissing):
        gcs_store(bucket="not-there-at-all").stat("a.wav")


@pytest.mark.parametrize(
    ("status", "reason", "sentence", "kind"),
    [
        (404, "notFound", "No such object: bucket/locked", NotFound),
        (404, "notFound", "The specified bucket does not exist.", BucketMissing),
        (403, "forbidden", "portal does not have storage.objects.get access to bucket/locked.", AccessDenied),
        (403, "retentionPolicyNotMet", "Object is subject to bucket's retention policy", ObjectLocked),
        (403, "objectUnderActiveHold", "Object is under active Event-Based hold", ObjectLocked),
        (400, "invalid", "Invalid argument.", Misconfigured),
        (400, "resourceIsEncryptedWithCustomerEncryptionKey", "The target is encrypted", ObjectEncrypted),
    ],
)
def test_a_fault_is_told_by_the_answer_and_not_by_the_names_in_it(
    settings: Any, status: int, reason: str, sentence: str, kind: type[StorageError]
) -> None:
    """The names of this bucket and object are words of the other answers; the client puts them into each."""
    settings.STORAGE_ALLOW_PRIVATE_ENDPOINTS = True
    key = "retention policy bucket, encrypted"
    error = {"code": status, "message": sentence, "errors": [{"reason": reason, "message": sentence}]}
    body = json.dumps({"error": error}).encode()
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with serving(answering(f"{head}Connection: close\r\n\r\n".encode() + body)) as server:
        store = GcsStore(GcsSettings("bucket", "", f"http://127.0.0.1:{server.port}"), lambda *_: "")
        with pytest.raises(StorageError) as caught, store.faults(key):
            store.duplicate(Blob(key, 5, "7", timezone.now()), "copy")
    assert type(caught.value) is kind


def test_a_wrong_key_of_a_service_account_is_told() -> None:
    for text in ("no json", "[]", '{"type": "service_account"}', '{"type": "authorized_user"}'):
        with pytest.raises(WrongCredentials):
            GcsStore(GcsSettings("calls", text), lambda *_: "").presign("a.wav", expires=60)


def test_credentials_that_name_files_or_programs_are_refused(tmp_path: Path) -> None:
    source = {"executable": {"command": f"touch {tmp_path / 'ran'}"}}
    text = json.dumps({"type": "external_account", "credential_source": source})
    with pytest.raises(WrongCredentials, match="external_account"):
        GcsStore(GcsSettings("calls", text), lambda *_: "").stat("a.wav")
    assert not (tmp_path / "ran").exists()


def test_links_are_signed_by_the_service_account() -> None:
    store = GcsStore(GcsSettings("calls", key_of_service_account(), root="in/"), lambda *_: "")
    link = urlsplit(store.presign("통화.wav", expires=60, filename="a.wav"))
    query = parse_qs(link.query)
    assert (link.scheme, link.netloc) == ("https", "storage.googleapis.com")
    assert link.path == "/calls/in/%ED%86%B5%ED%99%94.wav"
    assert query["X-Goog-Expires"] == ["60"]
    assert query["response-content-disposition"] == ['attachment; filename="a.wav"']
    # The key's own address for tokens, which may be anybody's, is not used.
    assert store._storage.credentials._token_uri == "https://oauth2.googleapis.com/token"


# --- The guarded transport of both


def test_answers_have_a_limit_and_redirects_end_it(gcs_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from speechportal.outbound import requests_adapter
    from speechportal.outbound.errors import AnswerTooLarge
    from speechportal.storage.endpoints import policy

    monkeypatch.setattr(requests_adapter, "ANSWER_BYTES", 10)
    monkeypatch.setattr(requests_adapter, "HEAD_BYTES", 10)
    session = guarded_session(GuardedAdapter(policy))
    with pytest.raises(AnswerTooLarge):
        session.get(f"{gcs_url}/", timeout=10)


def test_the_environment_of_the_portal_is_not_used(
    gcs_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert gcs_store().stat("a.wav") is None


def slow_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send packets in parts, as where a window is nearly used up, and those of a file that is read slowly."""
    send = paramiko.Channel.send

    def in_parts(channel: paramiko.Channel, data: bytes) -> int:
        time.sleep(0.002 if len(data) < 100 else 0)
        return int(send(channel, data[:8_000]))

    monkeypatch.setattr(paramiko.Channel, "send", in_parts)


def test_an_sftp_copy_is_the_same_file(sftp_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(6_000_000)
    store = sftp_store()
    store.put("large", data)
    slow_requests(monkeypatch)
    store.copy("large", "target")
    with store.open("target") as copied:
        assert copied.read() == data


def test_sftp_is_asked_for_other_things_while_a_file_is_read(
    sftp_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(6_000_000)
    store = sftp_store()
    store.put("large", data)
    slow_requests(monkeypatch)
    with store.open("large") as file:
        parts = [file.read(1_000_000)]
        for number in range(6):
            store.put(f"{number}.txt", b"text" * 20_000)
            parts.append(file.read(1_000_000))
    assert b"".join(parts) == data


def test_every_refusal_of_an_sftp_write_counts(sftp_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full for one of the parts that are sent without waiting."""
    write = asyncssh.SFTPServer.write

    def full(server: asyncssh.SFTPServer, file: object, offset: int, data: bytes) -> Any:
        if offset == 65_536:
            raise asyncssh.SFTPNoSpaceOnFilesystem("No space left on device")
        return write(server, file, offset, data)

    monkeypatch.setattr(asyncssh.SFTPServer, "write", full)
    store = sftp_store()
    with pytest.raises(StorageError) as caught:
        store.put("a.wav", bytes(400_000))
    assert "No space left on device" in str(caught.value)
    monkeypatch.undo()
    assert store.stat("a.wav") is None
    store.put("a.wav", bytes(400_000))


def test_an_sftp_connection_that_fell_silent_is_opened_anew(
    sftp_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sftp_store()
    store.put("a.wav", b"sound")
    read_packet = paramiko.SFTPClient._read_packet
    with monkeypatch.context() as patch:
        silent = iter([True])

        def fall_silent(client: paramiko.SFTPClient) -> Any:
            answer = read_packet(client)
            if next(silent, False):
                raise TimeoutError  # The response is late: it is still to come when the next request is sent.
            return answer

        patch.setattr(paramiko.SFTPClient, "_read_packet", fall_silent)
        before = sftp_connection.storage_for(store._given)._sftp  # type: ignore[attr-defined] # the private connection
        with pytest.raises(TimedOut):
            store.stat("a.wav")
    stored = store.stat("a.wav")
    assert stored is not None
    assert stored.size == 5
    assert sftp_connection.storage_for(store._given)._sftp is not before  # type: ignore[attr-defined]
