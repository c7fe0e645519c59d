"""Uploads from a batch's page: which files are allowed where, and the task that each becomes at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from django.urls import reverse
from pytest_django.fixtures import Settings

from batches.intake import polling
from batches.models import Batch, PendingFile, Task
from speechportal.accounts.models import AuditEntry, Membership, User
from tests.clients import Client
from tests.factories import add_member, make_account, make_batch, make_user

pytestmark = pytest.mark.django_db
LONG = f"{'0' * 260}.mp3"  # An object storage takes such a name, a file system does not.


@pytest.fixture
def alice() -> User:
    return make_user("alice@example.com")


@pytest.fixture
def batch(alice: User) -> Batch:
    account = make_account()
    add_member(account, alice, Membership.Role.OWNER)
    return make_batch(account, name="finished")


def ask(user: User, batch: Batch, step: str, body: object) -> Any:
    client = Client()
    client.force_login(user)
    address = reverse(f"batches:upload_{step}", args=[batch.uid])
    return client.post(address, json.dumps(body), content_type="application/json")


def put(url: str, data: bytes, settings: Settings) -> None:
    answer = Client().put(url.removeprefix(settings.PUBLIC_URL), data)
    assert answer.status_code == 200, answer.content


def test_each_file_of_a_plan_is_judged_by_itself(alice: User, batch: Batch, settings: Settings) -> None:
    settings.MAX_MEDIA_BYTES = 1000
    assert batch.connection is not None
    batch.connection.store().put("in/there.mp3", b"sound")
    files = [
        ("monday/call.mp3", 5),
        ("there.mp3", 5),
        ("notes.txt", 5),
        ("empty.mp3", 0),
        ("large.mp3", 1001),
        ("../call.mp3", 5),
        ("finished/call.mp3", 5),
        (LONG, 5),
    ]
    answer = ask(alice, batch, "plan", {"files": [{"name": name, "size": size} for name, size in files]})
    assert answer.status_code == 200, answer.content
    found = [(each["name"], each["code"]) for each in answer.json()["files"]]
    assert found == [
        ("monday/call.mp3", ""),
        ("there.mp3", "upload_exists"),
        ("notes.txt", "not_media_name"),
        ("empty.mp3", "empty_file"),
        ("large.mp3", "file_too_large"),
        ("../call.mp3", "invalid_key"),
        ("finished/call.mp3", "not_watched"),
        (LONG, "invalid_key"),
    ]
    assert all(bool(each["message"]) == bool(each["code"]) for each in answer.json()["files"])


def test_an_uploaded_file_is_a_task_at_once(alice: User, batch: Batch, settings: Settings) -> None:
    signed = ask(alice, batch, "sign", {"name": "통화.mp3", "step": "put"})
    put(signed.json()["url"], b"sound", settings)
    assert polling.poll(batch.pk) == 0  # It has not settled: a poll would take it much later.
    done = ask(alice, batch, "finish", {"name": "통화.mp3"})
    assert done.status_code == 200, done.content
    task = Task.unscoped.get()
    assert (task.name, task.state, task.input_size, task.task_order) == ("통화.mp3", Task.State.WAITING, 5, 1)
    assert done.json()["task"] == task.uid
    assert not PendingFile.unscoped.exists()
    again = ask(alice, batch, "finish", {"name": "통화.mp3"})
    assert again.json()["task"] == task.uid
    assert polling.poll(batch.pk) == 0
    assert Task.unscoped.count() == 1
    entry = AuditEntry.unscoped.get(action="batch.uploaded")
    assert (entry.target_uid, entry.changes) == (batch.uid, {"file": [None, "통화.mp3"]})


def test_a_file_is_written_over_only_when_that_was_chosen(
    alice: User, batch: Batch, settings: Settings
) -> None:
    assert batch.connection is not None
    batch.connection.store().put("in/call.mp3", b"first")
    body = {"name": "call.mp3", "step": "put"}
    refused = ask(alice, batch, "sign", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "upload_exists")
    allowed = ask(alice, batch, "sign", {**body, "replace": True})
    put(allowed.json()["url"], b"second!", settings)
    stored = batch.connection.store().stat("in/call.mp3")
    assert stored is not None
    assert stored.size == 7


@pytest.mark.parametrize("replace", [False, True])
def test_a_name_that_the_storage_cannot_have_is_refused_before_the_upload(
    alice: User, batch: Batch, replace: bool
) -> None:
    refused = ask(alice, batch, "sign", {"name": "통" * 100 + ".mp3", "step": "put", "replace": replace})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_key")


@pytest.mark.parametrize(
    ("step", "body", "code"),
    [
        ("finish", {"name": "never-sent.mp3"}, "upload_missing"),
        ("finish", {"name": "notes.txt"}, "not_media_name"),
        ("sign", {"name": "call.mp3", "step": "delete"}, "step_invalid"),
        ("sign", {"name": "call.mp3", "step": ["put"]}, "step_invalid"),
        ("sign", {"name": "call.mp3", "step": "create"}, "multipart_unsupported"),
        ("sign", {"name": "a" * 901, "step": "put"}, "name_invalid"),
        ("sign", {"name": 7, "step": "put"}, "name_invalid"),
        ("sign", [], "not_json"),
        ("plan", {"files": []}, "invalid"),
        ("plan", {"files": [{"name": "x.mp3", "size": 1}] * 101}, "invalid"),
        ("plan", {"files": [3]}, "name_invalid"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    alice: User, batch: Batch, step: str, body: object, code: str
) -> None:
    answer = ask(alice, batch, step, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["message"]
    assert not Task.unscoped.exists()


def test_viewers_upload_nothing_and_strangers_find_nothing(batch: Batch) -> None:
    vera, charlie = make_user("vera@example.com"), make_user("charlie@example.com")
    add_member(batch.account, vera, Membership.Role.VIEWER)
    add_member(make_account(), charlie, Membership.Role.OWNER)
    body = {"name": "x.mp3", "step": "put", "files": [{"name": "x.mp3", "size": 1}]}
    for step in ("plan", "sign", "finish"):
        assert ask(vera, batch, step, body).status_code == 403, step
        assert ask(charlie, batch, step, body).status_code == 404, step


def test_a_large_file_goes_into_a_bucket_in_parts(alice: User, swift_connection: Any) -> None:
    account = make_account()
    add_member(account, alice, Membership.Role.OWNER)
    batch = make_batch(account, connection=swift_connection(account))
    name = {"name": "a b/큰 파일.wav"}

    def signed(**more: object) -> str:
        answer = ask(alice, batch, "sign", {**name, **more})
        assert answer.status_code == 200, answer.content
        return str(answer.json()["url"])

    created = requests.post(signed(step="create"), timeout=20).text
    upload_id = created.partition("<UploadId>")[2].partition("</UploadId>")[0]
    assert upload_id
    parts = [b"a" * 5 * 1024**2, b"b" * 1000]
    tags = []
    for number, data in enumerate(parts, start=1):
        url = signed(step="part", upload_id=upload_id, part_number=number)
        tags.append(requests.put(url, data=data, timeout=20).headers["ETag"])
    listed = requests.get(signed(step="list", upload_id=upload_id), timeout=20).text
    assert listed.count("<PartNumber>") == 2  # What goes on after a broken connection reads.
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
        for number, tag in enumerate(tags, start=1)
    )
    complete = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>"
    ended = requests.post(signed(step="complete", upload_id=upload_id), data=complete, timeout=20)
    assert ended.status_code == 200, ended.text
    assert ask(alice, batch, "finish", name).status_code == 200
    assert Task.unscoped.get().input_size == sum(map(len, parts))


def test_only_the_page_of_a_batch_reaches_its_storage(alice: User, swift_connection: Any) -> None:
    account = make_account()
    add_member(account, alice, Membership.Role.OWNER)
    batch = make_batch(account, connection=swift_connection(account))
    client = Client()
    client.force_login(alice)
    page = client.get(reverse("batches:detail", args=[batch.uid]), follow=True)
    assert batch.connection is not None
    origin = batch.connection.parameters["endpoint_url"]
    assert f"connect-src 'self' {origin};" in page["Content-Security-Policy"]
    assert 'data-parts="yes"' in page.content.decode()
    other = client.get(reverse("batches:list"), follow=True)
    assert "connect-src 'self';" in other["Content-Security-Policy"]
