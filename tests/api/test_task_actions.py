"""Actions on many tasks, and the end of an upload, through the API."""

from __future__ import annotations

from typing import Any

import pytest

from batches.models import Task
from tests.api.client import Api
from tests.factories import make_account, make_batch, make_task

State = Task.State


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"action": "retry", "filter": {"state": "failed"}}, 200, {"done": 1, "passed_over": 0}),
        ({"action": "retry", "filter": {}}, 200, {"done": 1, "passed_over": 1}),
        ({"action": "cancel", "filter": {"q": "waits", "shortest": 0}}, 200, {"done": 0, "passed_over": 0}),
        ({"action": "retry"}, 422, None),
        ({"action": "retry", "ids": ["a"], "filter": {}}, 422, None),
        ({"action": "delete", "filter": {}}, 422, None),
        ({"action": "retry", "filter": {"state": "lost"}}, 422, None),
    ],
)
def test_an_action_on_all_that_match(alice: Api, body: dict[str, Any], status: int, answer: Any) -> None:
    batch = make_batch(alice.account)
    make_task(batch, "waits.wav")
    make_task(batch, "failed.wav", state=State.FAILED)
    sent = alice.post(f"batches/{batch.uid}/task-actions", body)
    assert sent.status_code == status, sent.content
    if answer is not None:
        assert sent.json() == answer


def test_only_tasks_of_the_batch_are_reached(alice: Api, vera: Api, charlie: Api) -> None:
    batch = make_batch(alice.account)
    own, foreign = make_task(batch), make_task(make_batch(make_account()))
    body = {"action": "cancel", "ids": [own.uid, foreign.uid]}
    address = f"batches/{batch.uid}/task-actions"
    assert charlie.post(address, body).status_code == 404
    assert vera.post(address, body).status_code == 403
    assert alice.post(address, body).json() == {"done": 1, "passed_over": 0}
    foreign.refresh_from_db()
    assert foreign.state == State.WAITING


def test_an_upload_that_has_ended_is_a_task_at_once(alice: Api) -> None:
    batch = make_batch(alice.account)
    address = f"batches/{batch.uid}/uploads/finished"
    missing = alice.post(address, {"name": "call.mp3"})
    assert (missing.status_code, missing.json()["code"]) == (409, "upload_missing"), missing.content
    assert batch.connection is not None
    batch.connection.store().put("in/call.mp3", b"sound")
    first, again = (alice.post(address, {"name": "call.mp3"}) for _ in range(2))
    assert first.status_code == 200, first.content
    assert (first.json()["state"], first.json()["name"]) == ("waiting", "call.mp3")
    assert again.json()["id"] == first.json()["id"]
    assert Task.unscoped.filter(batch=batch).count() == 1


@pytest.mark.parametrize("below", ["uploads", "uploads/finished"])
def test_a_name_that_the_storage_cannot_have_is_a_wrong_field(alice: Api, below: str) -> None:
    """In a local folder, where names are shorter than the API allows."""
    answer = alice.post(f"batches/{make_batch(alice.account).uid}/{below}", {"name": f"{'0' * 260}.mp3"})
    assert answer.status_code == 422, answer.content
    assert [(each["field"], each["code"]) for each in answer.json()["errors"]] == [("name", "invalid_key")]


def test_failures_are_acknowledged_one_by_one_and_many_at_once(alice: Api, vera: Api, charlie: Api) -> None:
    batch = make_batch(alice.account)
    one, two, waiting = (
        make_task(batch, state=state) for state in (State.FAILED, State.FAILED, State.WAITING)
    )
    address = f"tasks/{one.uid}/acknowledge"
    assert charlie.post(address, {"note": "x"}).status_code == 404
    assert vera.post(address, {"note": "x"}).status_code == 403
    told = alice.post(address, {"note": "a test file"})
    assert told.status_code == 200, told.content
    assert (told.json()["state"], told.json()["acknowledgement"]) == ("failed", "a test file")
    assert told.json()["acknowledged_at"]
    again = alice.post(address, {"note": "later"})
    assert (again.status_code, again.json()["code"]) == (409, "task_not_acknowledgeable"), again.content
    body = {"action": "acknowledge", "filter": {}, "note": "known"}
    assert alice.post(f"batches/{batch.uid}/task-actions", body).json() == {"done": 1, "passed_over": 2}
    told = alice.get(f"tasks/{two.uid}").json()
    assert told["acknowledgement"] == "known"
    assert alice.get(f"tasks/{waiting.uid}").json()["acknowledged_at"] is None
    assert alice.post(address, {"note": "x" * 501}).status_code == 422
