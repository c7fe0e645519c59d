"""Idempotency keys: a request that is sent twice has one effect."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from django.utils import timezone

from batches.models import Batch, Task
from domains.models import Domain
from speechportal.accounts.models import ApiToken
from speechportal.api.models import IdempotencyRecord
from tests.api.client import Api
from tests.api.conftest import MakeApi
from tests.factories import make_account, make_batch, make_connection, make_domain, make_task, make_user

KEY = {"Idempotency-Key": "6f1b6f5e-8d7e-4f0c-9a55-0d6d8c1f7f11"}
BODY = {"name": "Calls", "code": "calls"}


def test_the_same_request_gets_the_same_answer(alice: Api) -> None:
    first = alice.post("domains", BODY, headers=KEY)
    again = alice.post("domains", BODY, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    for name in ("Location", "ETag"):
        assert again.headers[name] == first.headers[name]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert Domain.unscoped.count() == 1


def test_a_batch_is_made_once_and_its_webhook_is_looked_at(alice: Api) -> None:
    body = {
        "name": "Calls",
        "domain": make_domain(alice.account).uid,
        "connection": make_connection(alice.account).uid,
    }
    inside = alice.post("batches", {**body, "name": "", "webhook_url": "https://127.0.0.1/"}, headers=KEY)
    assert inside.status_code == 422
    inside = alice.post("batches", {**body, "webhook_url": "https://127.0.0.1/"}, headers=KEY)
    assert [each["field"] for each in inside.json()["errors"]] == ["webhook_url"]
    first = alice.post("batches", body, headers=KEY)
    assert (first.status_code, alice.post("batches", body, headers=KEY).json()) == (201, first.json())
    assert Batch.unscoped.count() == 1


def test_another_request_under_the_same_key_is_refused(alice: Api) -> None:
    alice.post("domains", BODY, headers=KEY)
    batch = make_batch(alice.account)
    for path, body in (("domains", {**BODY, "name": "Other"}), (f"batches/{batch.uid}/pause", None)):
        answer = alice.post(path, body, headers=KEY)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    batch.refresh_from_db()
    assert batch.paused_at is None


def test_a_refused_request_may_be_mended_under_its_key(alice: Api) -> None:
    assert alice.post("domains", {"name": "Calls"}, headers=KEY).status_code == 422
    assert not IdempotencyRecord.unscoped.exists()
    assert alice.post("domains", BODY, headers=KEY).status_code == 201


def test_actions_have_one_effect_too(alice: Api) -> None:
    task = make_task(make_batch(alice.account), state=Task.State.FAILED)
    first = alice.post(f"tasks/{task.uid}/retry", headers=KEY)
    assert first.status_code == 200, first.content
    Task.unscoped.filter(pk=task.pk).update(
        state="failed", error_code="not_media", finished_at=timezone.now()
    )
    again = alice.post(f"tasks/{task.uid}/retry", headers=KEY)
    assert again.json() == first.json()
    task.refresh_from_db()
    assert task.state == "failed"


def test_a_key_belongs_to_its_token(alice: Api, bob: Api, charlie: Api) -> None:
    assert alice.post("domains", BODY, headers=KEY).status_code == 201
    assert charlie.post("domains", BODY, headers=KEY).status_code == 201
    other = bob.post("domains", {**BODY, "code": "other"}, headers=KEY)
    assert other.status_code == 201
    assert "Idempotency-Replayed" not in other.headers


def test_a_key_is_forgotten_after_a_day(alice: Api) -> None:
    alice.post("domains", BODY, headers=KEY)
    IdempotencyRecord.unscoped.update(created_at=timezone.now() - timedelta(hours=25))
    again = alice.post("domains", BODY, headers=KEY)
    assert again.status_code == 422
    assert [each["code"] for each in again.json()["errors"]] == ["domain_code_unique"]


def test_a_kept_answer_cannot_be_read_in_the_database(alice: Api) -> None:
    made = alice.post("tokens", {"name": "CI", "scopes": ["read"]}, headers=KEY)
    assert made.status_code == 201, made.content
    kept = IdempotencyRecord.unscoped.get()
    assert made.json()["token"] not in kept.content
    assert alice.post("tokens", {"name": "CI", "scopes": ["read"]}, headers=KEY).json() == made.json()
    assert ApiToken.unscoped.filter(name="CI").count() == 1


def test_an_answer_whose_encryption_key_is_gone_is_told_as_lost(alice: Api, settings: Any) -> None:
    alice.post("domains", BODY, headers=KEY)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    again = alice.post("domains", BODY, headers=KEY)
    assert (again.status_code, again.json()["code"]) == (409, "idempotent_answer_lost")
    assert Domain.unscoped.count() == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "ключ"])
def test_a_key_that_cannot_be_one_is_refused(alice: Api, key: str) -> None:
    answer = alice.post("domains", BODY, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not Domain.unscoped.exists()


@pytest.mark.django_db(transaction=True)
def test_two_at_once_have_one_effect_and_one_answer(transactional_db: None, make_api: MakeApi) -> None:
    user = make_user()
    api = make_api(make_account(owner=user), user)
    barrier, answers = threading.Barrier(4), []

    def send() -> None:
        barrier.wait()
        answers.append(api.post("domains", BODY, headers=KEY))
        connection.close()

    threads = [threading.Thread(target=send) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [201] * 4, [answer.content for answer in answers]
    assert len({answer.content for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == ["", *["true"] * 3]
    assert Domain.unscoped.count() == 1
