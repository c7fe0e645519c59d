"""Batches through the API."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from pytest_django import DjangoAssertNumQueries

from batches.models import Batch, StoredTranscript, Task
from batches.recognition.transcript import Segment, Transcript
from batches.services import batches as batch_services
from tests.api.client import Api
from tests.clients import Client
from tests.factories import make_account, make_batch, make_connection, make_domain, make_task


def body(api: Api, **fields: Any) -> dict[str, Any]:
    return {
        "name": "Calls",
        "domain": make_domain(api.account).uid,
        "connection": make_connection(api.account).uid,
        "input_path": "in/",
        "result_path": "out/",
        **fields,
    }


def test_a_batch_from_its_creation_to_its_deletion(alice: Api) -> None:
    given = body(alice, formats=["srt", "json"], language="en-US", max_speakers=3, priority="high")
    created = alice.post("batches", given)
    assert created.status_code == 201, created.content
    batch = created.json()
    assert batch["domain"]["id"] == given["domain"]
    assert batch["connection"]["id"] == given["connection"]
    assert (batch["formats"], batch["language"], batch["max_speakers"]) == (["srt", "json"], "en-US", 3)
    assert (batch["status"], batch["cause"], batch["priority"]) == ("normal", None, "high")
    assert batch["progress"] == dict.fromkeys(
        ["found", "waiting", "running", "completed", "failed", "cancelled"], 0
    )
    path = f"batches/{batch['id']}"
    assert alice.get(path).json() == batch

    assert batch["channels_as_speakers"] is False
    assert batch["transcript_days"] is None
    changed = alice.patch(path, {"name": "Phone calls", "max_speakers": None, "channels_as_speakers": True})
    assert changed.status_code == 200, changed.content
    assert (changed.json()["name"], changed.json()["max_speakers"]) == ("Phone calls", None)
    assert changed.json()["channels_as_speakers"] is True
    assert changed.json()["formats"] == ["srt", "json"]

    assert alice.delete(path).status_code == 204
    assert alice.get("batches").json()["results"] == []
    gone = alice.get(path).json()
    assert gone["deleted_at"]
    assert (gone["domain"], gone["connection"]) == (None, None)
    assert alice.patch(path, {"name": "Again"}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field", "code"),
    [
        ({"domain": "dom_0000000000000000"}, "domain", "does_not_exist"),
        ({"connection": 7}, "connection", "invalid"),
        ({"formats": ["pdf"]}, "formats.0", "invalid_choice"),
        ({"formats": []}, "formats", "min_length"),
        ({"language": "klingon"}, "language", "invalid_choice"),
        ({"speakers": "yes"}, "speakers", "invalid"),
        ({"min_speakers": 31}, "min_speakers", "max_value"),
        ({"input_path": "a/../b"}, "input_path", "invalid"),
        ({"input_path": "s3://calls/in"}, "input_path", "invalid"),
        ({"result_path": "C:\\calls"}, "result_path", "invalid"),
        ({"name": "a/b"}, "name", "invalid"),
        ({"priority": 1}, "priority", "invalid_choice"),
        ({"transcript_days": 0}, "transcript_days", "min_value"),
        ({"transcript_days": 36_501}, "transcript_days", "max_value"),
    ],
)
def test_what_breaks_a_rule_is_told_at_its_field(
    alice: Api, fields: dict[str, Any], field: str, code: str
) -> None:
    answer = alice.post("batches", body(alice, **fields))
    assert answer.status_code == 422, answer.content
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [(field, code)]
    assert not Batch.unscoped.exists()


def test_days_to_keep_transcripts_are_set_and_taken_back(alice: Api) -> None:
    made = alice.post("batches", body(alice, transcript_days=7)).json()
    assert made["transcript_days"] == 7
    path = f"batches/{made['id']}"
    assert alice.patch(path, {"transcript_days": None}).json()["transcript_days"] is None


def test_all_that_is_wrong_is_told_at_once(alice: Api) -> None:
    wrong = {"name": "a/b", "language": "klingon", "formats": [], "min_speakers": 0}
    answer = alice.post("batches", body(alice, **wrong))
    assert {each["field"] for each in answer.json()["errors"]} == set(wrong)
    answer = alice.post("batches", body(alice, min_speakers=5, max_speakers=2))
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "max_speakers")
    batch = make_batch(alice.account, max_speakers=2)
    answer = alice.patch(f"batches/{batch.uid}", {"min_speakers": 5})
    [error] = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["code"]) == (422, "max_speakers", "below_min_speakers")


def test_the_limits_are_those_of_the_portal(alice: Api) -> None:
    taken = make_batch(alice.account, name="Taken", input_path="taken/")
    assert taken.domain is not None
    free = make_domain(alice.account, plan="free")
    for fields, field, sentence in [
        ({"domain": taken.domain.uid}, "domain", "The domain already has a batch."),
        ({"domain": free.uid}, "domain", "A Free domain cannot have a batch."),
        ({"name": "Taken"}, "name", "A batch with this name already exists."),
    ]:
        answer = alice.post("batches", body(alice, **fields))
        assert answer.status_code == 422
        assert [(each["field"], each["message"]) for each in answer.json()["errors"]] == [(field, sentence)]
    alice.account.batch_limit = 1
    alice.account.save()
    answer = alice.post("batches", body(alice))
    assert (answer.status_code, answer.json()["code"]) == (409, "batch_limit")


def test_what_belongs_to_another_account_cannot_be_named(alice: Api, charlie: Api) -> None:
    foreign = body(alice)
    answer = charlie.post("batches", foreign)
    assert answer.status_code == 422
    assert {each["field"]: each["code"] for each in answer.json()["errors"]} == {
        "domain": "does_not_exist",
        "connection": "does_not_exist",
    }


def test_pause_and_resume(alice: Api) -> None:
    batch = make_batch(alice.account)
    paused = alice.post(f"batches/{batch.uid}/pause")
    assert paused.status_code == 200, paused.content
    assert paused.json()["paused_at"]
    assert [row["id"] for row in alice.get("batches?paused=true").json()["results"]] == [batch.uid]
    resumed = alice.post(f"batches/{batch.uid}/resume")
    assert resumed.json()["paused_at"] is None


def test_failed_tasks_are_retried_and_waiting_ones_cancelled_together(alice: Api) -> None:
    batch = make_batch(alice.account)
    for _number in range(2):
        make_task(batch, state=Task.State.FAILED)
    make_task(batch, state=Task.State.COMPLETED)
    assert alice.get(f"batches/{batch.uid}").json()["progress"]["failed"] == 2
    assert alice.post(f"batches/{batch.uid}/retry-failed").json() == {"count": 2}
    assert alice.post(f"batches/{batch.uid}/cancel-waiting").json() == {"count": 2}
    assert Task.unscoped.filter(batch=batch, state=Task.State.CANCELLED).count() == 2


def test_the_cause_of_an_error_is_told(alice: Api) -> None:
    batch = make_batch(alice.account)
    Batch.unscoped.filter(pk=batch.pk).update(status="error", cause_code="access_denied", cause="No access.")
    [told] = alice.get("batches?status=error").json()["results"]
    assert told["cause"]["code"] == "access_denied"
    assert told["cause"]["message"] == "The storage denies access."
    assert "list, read, write and delete" in told["cause"]["advice"]


def test_a_list_costs_the_same_however_long_it_is(
    alice: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(6):
        batch = make_batch(alice.account, input_path=f"in-{number}/")
        make_task(batch, state="failed")
    # token, membership, count of the request, batches, their progress
    with django_assert_num_queries(5):
        assert len(alice.get("batches").json()["results"]) == 6
    with django_assert_num_queries(5):
        assert len(alice.get("batches?page_size=2").json()["results"]) == 2


def test_a_file_goes_straight_into_the_input_path(alice: Api, settings: Any) -> None:
    batch = make_batch(alice.account)
    answer = alice.post(f"batches/{batch.uid}/uploads", {"name": "monday/call.mp3"})
    assert answer.status_code == 201, answer.content
    upload = answer.json()
    assert (upload["key"], upload["method"]) == ("in/monday/call.mp3", "PUT")
    assert upload["url"].startswith(settings.PUBLIC_URL)
    path = upload["url"].removeprefix(settings.PUBLIC_URL)
    sent = Client().put(path, b"sound", content_type="application/octet-stream")
    assert sent.status_code in {200, 201, 204}, sent.content
    assert batch.connection is not None
    found = batch.connection.store().stat("in/monday/call.mp3")
    assert found is not None
    assert found.size == 5
    again = alice.post(f"batches/{batch.uid}/uploads", {"name": "monday/call.mp3"})
    assert (again.status_code, again.json()["code"]) == (409, "upload_exists")
    over = alice.post(f"batches/{batch.uid}/uploads", {"name": "monday/call.mp3", "replace": True})
    assert over.status_code == 201


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("notes.txt", "not_media_name"),
        ("../call.mp3", "invalid_key"),
        ("/call.mp3", "invalid_key"),
        ("finished/call.mp3", "not_watched"),
        ("a" * 900 + ".mp3", "max_length"),
    ],
)
def test_a_file_that_would_not_be_recognised_gets_no_address(alice: Api, name: str, code: str) -> None:
    batch = make_batch(alice.account, name="finished")
    answer = alice.post(f"batches/{batch.uid}/uploads", {"name": name})
    assert answer.status_code == 422, answer.content
    assert [each["code"] for each in answer.json()["errors"]] == [code]


def test_a_file_goes_straight_into_a_bucket(alice: Api, swift_connection: Any) -> None:
    batch = make_batch(alice.account, connection=swift_connection(alice.account))
    upload = alice.post(f"batches/{batch.uid}/uploads", {"name": "call.mp3"}).json()
    assert requests.put(upload["url"], data=b"sound", timeout=10).status_code == 200
    assert batch.connection is not None
    found = batch.connection.store().stat("in/call.mp3")
    assert found is not None
    assert found.size == 5


def test_strangers_find_nothing_and_viewers_only_look(alice: Api, vera: Api, charlie: Api) -> None:
    batch = make_batch(alice.account)
    assert charlie.get("batches").json()["results"] == []
    assert vera.get("batches").json()["results"][0]["id"] == batch.uid
    actions = ["pause", "resume", "retry-failed", "cancel-waiting", "uploads"]
    for method, path in [("PATCH", ""), ("DELETE", ""), *(("POST", f"/{name}") for name in actions)]:
        address = f"batches/{batch.uid}{path}"
        content = {"name": "x.mp3"} if path == "/uploads" else {}
        assert charlie.send(method, address, content).status_code == 404, address
        refused = vera.send(method, address, content)
        assert (refused.status_code, refused.json()["code"]) == (403, "role_missing"), address
    assert charlie.get(f"batches/{batch.uid}").status_code == 404
    assert not Batch.unscoped.exclude(deleted_at=None).exists()


def test_an_account_without_batches_sees_an_empty_list(charlie: Api) -> None:
    make_batch(make_account())
    assert charlie.get("batches").json() == {"next": None, "previous": None, "results": []}


def test_deleted_batches_with_transcripts_are_listed_on_request(alice: Api, charlie: Api) -> None:
    batch, empty = make_batch(alice.account, name="old"), make_batch(alice.account, name="empty")
    task = make_task(batch, state="completed")
    document = Transcript("en", 1.0, 1500, [Segment(0, 1500, "Good morning.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    for each in (batch, empty):
        batch_services.delete_batch(batch=each)
    live = make_batch(alice.account)
    [row] = alice.get("batches?deleted=true").json()["results"]
    assert (row["id"], row["domain"], row["connection"]) == (batch.uid, None, None)
    assert row["deleted_at"]
    assert [row["id"] for row in alice.get("batches").json()["results"]] == [live.uid]
    assert [row["id"] for row in alice.get("batches?deleted=false").json()["results"]] == [live.uid]
    assert alice.get("batches?deleted=true&q=new").json()["results"] == []
    assert charlie.get("batches?deleted=true").json()["results"] == []
    assert alice.get(f"tasks/{task.uid}/transcript").json()["text"] == "Good morning."
