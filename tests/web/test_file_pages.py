"""Signed addresses of files in local folders: what they allow, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings

from speechportal.accounts.models import Account
from speechportal.storage import local_file_views
from speechportal.storage.models import Connection
from tests.clients import Client
from tests.factories import make_account, make_connection

pytestmark = pytest.mark.django_db
SOUND = bytes(range(256)) * 40


@pytest.fixture
def connection() -> Connection:
    connection = make_connection(make_account())
    connection.store().put("calls/통화 1.wav", SOUND)
    return connection


def address(connection: Connection, key: str = "calls/통화 1.wav", **options: Any) -> str:
    return urlsplit(connection.store().presign(key, **{"expires": 60, **options})).path


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def test_a_recording_is_played(connection: Connection) -> None:
    response = Client().get(address(connection))
    assert body(response) == SOUND
    assert response["Content-Type"] in {"audio/x-wav", "audio/wav"}
    assert response["Accept-Ranges"] == "bytes"
    assert "attachment" not in response.get("Content-Disposition", "")
    assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("0-0", 0, 1), ("10-19", 10, 20), ("10000-", 10000, 10240), ("-5", 10235, 10240), ("5-99999", 5, 10240)],
)
def test_a_player_may_jump(connection: Connection, asked: str, start: int, end: int) -> None:
    response = Client().get(address(connection), headers={"Range": f"bytes={asked}"})
    assert response.status_code == 206
    assert body(response) == SOUND[start:end]
    assert response["Content-Range"] == f"bytes {start}-{end - 1}/{len(SOUND)}"
    assert response["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["10240-", "99999-100000", "20-10"])
def test_beyond_the_end_there_is_nothing(connection: Connection, asked: str) -> None:
    response = Client().get(address(connection), headers={"Range": f"bytes={asked}"})
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(SOUND)}"


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes=-", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=--5"),
        # More digits than Python makes a number of, and digits of other scripts.
        *(f"bytes=0-{'9' * 5000}", "bytes=\N{ARABIC-INDIC DIGIT ONE}-"),
    ],
)
def test_other_ranges_mean_the_whole_file(connection: Connection, asked: str) -> None:
    response = Client().get(address(connection), headers={"Range": asked})
    assert (response.status_code, body(response)) == (200, SOUND)


def test_a_head_request_tells_the_size(connection: Connection) -> None:
    response = Client().head(address(connection))
    assert response["Content-Length"] == str(len(SOUND))
    assert body(response) == b""


def test_what_is_no_recording_is_never_shown_as_a_page(connection: Connection) -> None:
    connection.store().put("page.html", b"<script>alert(1)</script>")
    response = Client().get(address(connection, "page.html"))
    assert response["Content-Type"] == "application/octet-stream"
    assert "attachment" in response["Content-Disposition"]
    assert "sandbox" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"


def test_a_download_has_its_name(connection: Connection) -> None:
    response = Client().get(address(connection, filename="통화 1.wav"))
    assert "attachment" in response["Content-Disposition"]
    assert "%ED%86%B5%ED%99%94%201.wav" in response["Content-Disposition"]


def test_an_empty_file_is_empty(connection: Connection) -> None:
    connection.store().put("empty.wav", b"")
    response = Client().get(address(connection, "empty.wav"))
    assert (response.status_code, body(response)) == (200, b"")
    beyond = Client().get(address(connection, "empty.wav"), headers={"Range": "bytes=5-"})
    assert (beyond.status_code, beyond["Content-Range"]) == (416, "bytes */0")


def test_an_address_ends_with_its_time(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    link = address(connection, expires=60)
    later = time.time() + 61
    monkeypatch.setattr("speechportal.storage.local_file_links.time.time", lambda: later)
    assert Client().get(link).status_code == 404


def test_a_changed_address_opens_nothing(connection: Connection) -> None:
    link = address(connection)
    for position in range(link.rindex("/") - 12, link.rindex("/"), 3):
        letter = "A" if link[position] != "A" else "B"
        assert Client().get(link[:position] + letter + link[position + 1 :]).status_code == 404


def test_an_address_for_reading_does_not_write(connection: Connection) -> None:
    assert Client().put(address(connection), b"other").status_code == 404
    assert Client().get(address(connection, method="put")).status_code == 404
    with connection.store().open("calls/통화 1.wav") as stream:
        assert stream.read() == SOUND


def test_a_file_is_uploaded_whole(connection: Connection, settings: Settings) -> None:
    Path(settings.WORK_DIR).mkdir(parents=True)
    response = Client().put(address(connection, "new/a.wav", method="put"), SOUND, "audio/wav")
    assert response.status_code == 200
    with connection.store().open("new/a.wav") as stream:
        assert stream.read() == SOUND
    assert list(Path(settings.WORK_DIR).iterdir()) == []


def test_an_upload_above_the_limit_or_cut_short_leaves_nothing(
    connection: Connection, settings: Settings
) -> None:
    link = address(connection, "new/a.wav", method="put")
    settings.MAX_MEDIA_BYTES = 100
    assert Client().put(link, SOUND, "audio/wav").status_code == 413
    settings.MAX_MEDIA_BYTES = 10**6
    cut = RequestFactory().put(link, SOUND[:50], "audio/wav")
    cut.META["CONTENT_LENGTH"] = "100"
    assert local_file_views.file(cut, link.rstrip("/").rpartition("/")[2]).status_code == 400
    assert connection.store().stat("new/a.wav") is None


def test_a_suspended_account_s_files_stay_closed(connection: Connection) -> None:
    link = address(connection)
    Account.objects.filter(pk=connection.account_id).update(suspended_at=timezone.now())
    assert Client().get(link).status_code == 404


def test_a_file_or_connection_that_is_gone_is_not_found(connection: Connection) -> None:
    link = address(connection)
    connection.store().delete("calls/통화 1.wav")
    assert Client().get(link).status_code == 404
    Connection.unscoped.filter(pk=connection.pk).delete()
    assert Client().get(link).status_code == 404
