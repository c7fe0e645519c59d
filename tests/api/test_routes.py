"""Access to every URL of the API: refused to everybody without the right."""

from __future__ import annotations

from typing import Any

import pytest

from batches.models import ExecutionResult, StoredTranscript
from batches.recognition.transcript import Segment, Transcript
from batches.webhooks import redelivery
from speechportal.accounts.members import invitations
from speechportal.accounts.models import Membership
from speechportal.accounts.tokens import scopes
from speechportal.api.views import ApiView
from tests.api.addresses import VIEWS, filled
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.clients import Client
from tests.factories import make_batch, make_task

CHANGES = {"post", "put", "patch", "delete"}
CASES = [(path, method, view.cls) for path, view in VIEWS for method in view.actions]
IDS = [f"{method} {path}" for path, method, _kind in CASES]


@pytest.fixture
def things(alice: Api) -> dict[str, str]:
    """Create one object of each kind; returns their IDs by the first segment of the URL."""
    batch = make_batch(alice.account)
    batch.webhook_url = "https://example.com/hook"
    batch.save()
    result = ExecutionResult.unscoped.create(
        account=alice.account, batch=batch, connection=batch.connection, number=1, task_count=1, key="1.csv"
    )
    task = make_task(batch, state="completed", execution_result=result)
    document = Transcript("en", 1.0, 1000, [Segment(0, 1000, "Hello.")])
    StoredTranscript.unscoped.create(task=task, stage="words", document=document.to_dict())
    assert batch.domain is not None
    assert batch.connection is not None
    return {
        "batches": batch.uid,
        "tasks": task.uid,
        "execution-results": result.uid,
        "deliveries": redelivery.send_test(batch=batch).uid,
        "domains": batch.domain.uid,
        "connections": batch.connection.uid,
        "tokens": alice.token.uid,
        "invitations": invitations.invite(
            account=alice.account, email="dora@example.com", role="viewer", by=alice.user
        )[0].uid,
        "members": str(Membership.objects.get(user=alice.user).pk),
    }


def test_the_walk_finds_the_api() -> None:
    assert len(CASES) > 50
    assert all(issubclass(kind, ApiView) and kind.area in scopes.AREAS for _path, _method, kind in CASES)


@pytest.mark.parametrize(("path", "method", "kind"), CASES, ids=IDS)
def test_nobody_gets_in_without_a_token(
    things: dict[str, str], path: str, method: str, kind: type[ApiView]
) -> None:
    answer = Client().generic(method.upper(), filled(path, things))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


@pytest.mark.parametrize(("path", "method", "kind"), CASES, ids=IDS)
def test_a_scope_of_another_area_opens_nothing(
    things: dict[str, str], make_api: MakeApi, alice: Api, path: str, method: str, kind: type[ApiView]
) -> None:
    others = [f"{area}:write" for area in scopes.AREAS if area != kind.area]
    wanted = [*others, f"{kind.area}:read"] if method in CHANGES else others
    answer = make_api(alice.account, alice.user, wanted).send(method.upper(), filled(path, things))
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("path", "method"),
    [case[:2] for case in CASES if case[1] in CHANGES],
    ids=[i for i in IDS if "get" not in i[:3]],
)
def test_a_viewer_changes_nothing(things: dict[str, str], vera: Api, path: str, method: str) -> None:
    answer = vera.send(method.upper(), filled(path, things))
    assert (answer.status_code, answer.json()["code"]) == (403, "role_missing")


@pytest.mark.parametrize(
    ("path", "method"), [case[:2] for case in CASES if "(?P<" in case[0]], ids=[i for i in IDS if "(?P<" in i]
)
def test_a_stranger_finds_nothing(things: dict[str, str], charlie: Api, path: str, method: str) -> None:
    answer = charlie.send(method.upper(), filled(path, things), {})
    assert answer.status_code in {404, 422}, answer.content
    # What is wrong with the body may be told first; about the thing itself nothing is.
    content = answer.content.decode()
    assert [uid for uid in things.values() if uid in content and len(uid) > 10] == []
    if answer.status_code == 422:
        assert answer.json()["errors"]


@pytest.mark.parametrize(
    "path", [path for path, method, _kind in CASES if method == "get" and "(?P<" not in path]
)
def test_a_stranger_sees_only_his_own(things: dict[str, str], charlie: Api, path: str) -> None:
    answer = charlie.get(f"/{path}")
    assert answer.status_code == 200
    assert [uid for uid in things.values() if len(uid) > 10 and uid in answer.content.decode()] == []


@pytest.mark.parametrize("method", ["GET", "POST", "TRACE"])
def test_an_unknown_address_is_told_as_a_problem(alice: Api, method: str) -> None:
    for path in ("/api/", "/api/v1", "/api/v1/nothing", "/api/v2/batches", "/api/v1/batches/"):
        answer = alice.send(method, path)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json"), path
        assert answer.json()["code"] == "not_found"


def test_a_method_that_is_not_there_is_told_with_those_that_are(alice: Api) -> None:
    answer = alice.send("DELETE", "domains")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "POST", "HEAD"}


@pytest.mark.parametrize(
    "body", ["{", b"\xff", '"text"', "[]", "7", "null", '{"name": "a\\u0000b", "code": "x"}']
)
def test_a_body_that_cannot_be_taken_is_a_problem(alice: Api, body: Any) -> None:
    answer = alice.post("domains", body)
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"malformed_body", "validation_failed"}


def test_a_body_that_is_too_deep_or_too_long_is_a_problem(alice: Api, settings: Any) -> None:
    deep = alice.post("domains", "[" * 100_000 + "]" * 100_000)
    assert (deep.status_code, deep.json()["code"]) == (400, "malformed_body")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1024**2
    long = alice.post("domains", {"name": "x" * 1024**2, "code": "x"})
    assert (long.status_code, long.json()["code"]) == (413, "body_too_large")
    assert "1 MB" in long.json()["detail"]


def test_a_body_of_another_type_is_refused(alice: Api) -> None:
    answer = alice.send(
        "POST", "domains", None, data="name=x", content_type="application/x-www-form-urlencoded"
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer.json()["detail"]


def test_nul_is_not_looked_for(alice: Api) -> None:
    assert alice.get("domains?q=%00").status_code == 400
