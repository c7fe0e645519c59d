"""Presigned URLs that read or write one file without further credentials, until they expire."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from speechportal.storage.backends.base import ObjectStore
from tests.clients import Client

# moto looks at neither signatures nor times.
CHECKS_NOTHING = {"moto"}


@dataclass
class Answer:
    status: int
    headers: Message
    body: bytes


def ask(store: ObjectStore, address: str, method: str = "GET", data: bytes | None = None) -> Answer:
    """Request a presigned URL as a browser would; the portal itself serves some storages."""
    if address.startswith(settings.PUBLIC_URL):
        response = Client().generic(method, urlsplit(address).path, data or b"", "audio/wav")
        streamed = getattr(response, "streaming_content", None)
        headers = Message()
        for name, value in response.items():
            headers[name] = value
        return Answer(response.status_code, headers, b"".join(streamed) if streamed else response.content)
    # "Content-Type" is not under the signature: any will do.
    request = urllib.request.Request(address, data, {"Content-Type": "audio/wav"}, method=method)  # noqa: S310 - the fixture's own address
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as found:
            return Answer(found.status, found.headers, found.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["store"])


def test_a_file_is_read_by_its_address(store: ObjectStore) -> None:
    store.put("calls/통화 1+2.wav", b"sound")
    answer = ask(store, store.presign("calls/통화 1+2.wav", expires=60))
    assert (answer.status, answer.body) == (200, b"sound")
    assert answer.headers["Content-Type"].startswith("audio/")


def test_a_download_is_saved_under_its_name(store: ObjectStore) -> None:
    store.put("key.json", b"{}")
    answer = ask(store, store.presign("key.json", expires=60, filename='통화 "1".json'))
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "%ED%86%B5%ED%99%94" in answer.headers["Content-Disposition"]


def test_a_file_is_written_by_its_address(store: ObjectStore) -> None:
    answer = ask(store, store.presign("new/통화.wav", expires=60, method="put"), "PUT", b"sound")
    assert answer.status in {200, 201}
    with store.open("new/통화.wav") as stream:
        assert stream.read() == b"sound"


def test_an_address_is_for_one_method(store: ObjectStore, request: pytest.FixtureRequest) -> None:
    store.put("key", b"sound")
    written = ask(store, store.presign("key", expires=60), "PUT", b"other")
    if kind(request) in CHECKS_NOTHING:
        assert written.status == 200
        return
    assert written.status in {400, 403, 404}  # Azure asks for a kind of blob first.
    assert ask(store, store.presign("key", expires=60, method="put")).status in {403, 404}
    with store.open("key") as stream:
        assert stream.read() == b"sound"


def test_an_address_is_for_one_file(store: ObjectStore, request: pytest.FixtureRequest) -> None:
    store.put("first", b"sound")
    store.put("other", b"secret")
    address = store.presign("first", expires=60)
    if address.startswith(settings.PUBLIC_URL):
        token = urlsplit(address).path.rstrip("/").rpartition("/")[2]
        changed = address.replace(token, ("B" if token[0] == "A" else "A") + token[1:])
    else:
        changed = address.replace("/first?", "/other?")
    assert changed != address
    answer = ask(store, changed)
    if kind(request) in CHECKS_NOTHING:
        assert answer.status == 200
        return
    assert answer.status in {403, 404}
    assert b"secret" not in answer.body


def test_an_address_expires(store: ObjectStore, request: pytest.FixtureRequest) -> None:
    store.put("key", b"sound")
    address = store.presign("key", expires=1)
    time.sleep(2.1)  # The storage's own clock, in whole seconds.
    answer = ask(store, address)
    if kind(request) in CHECKS_NOTHING:
        assert answer.status == 200
        return
    assert answer.status in {403, 404}
    assert answer.body != b"sound"


def test_the_address_of_a_file_that_is_not_there_finds_nothing(store: ObjectStore) -> None:
    assert ask(store, store.presign("nothing", expires=60)).status == 404


def test_no_address_holds_the_secret(store: ObjectStore) -> None:
    secret = getattr(getattr(store, "_given", None), "secret", "")
    address = store.presign("key", expires=60)
    assert address.startswith(("http://", "https://"))
    assert not secret or secret not in address
