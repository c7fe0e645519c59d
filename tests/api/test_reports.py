"""Execution results, usage, the account, deliveries and webhooks through the API."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries

from batches.models import Batch, Delivery, DeliveryAttempt, ExecutionResult
from batches.webhooks import redelivery
from tests.api.client import Api
from tests.factories import make_batch, make_charge, make_task


def make_result(batch: Batch) -> ExecutionResult:
    result = ExecutionResult.unscoped.create(
        account=batch.account,
        batch=batch,
        connection=batch.connection,
        number=1,
        task_count=1,
        key="out/1.csv",
    )
    make_task(batch, name="talk.wav", state="completed", execution_result=result)
    return result


def test_execution_results_are_listed_and_downloaded(alice: Api, charlie: Api) -> None:
    batch = make_batch(alice.account)
    result = make_result(batch)
    make_result(make_batch(alice.account))
    [row] = alice.get(f"execution-results?batch={batch.uid}").json()["results"]
    assert (row["id"], row["number"], row["task_count"]) == (result.uid, 1, 1)
    assert alice.get(f"execution-results/{result.uid}").json() == row
    file = alice.get(f"execution-results/{result.uid}/file")
    assert file.content.decode("utf-8-sig").startswith("task order,input file name")
    assert "talk.wav" in file.content.decode()
    assert charlie.get("execution-results").json()["results"] == []
    for path in ("", "/file"):
        assert charlie.get(f"execution-results/{result.uid}{path}").status_code == 404


def test_usage_is_told_by_month_and_file(
    alice: Api, charlie: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    batch = make_batch(alice.account)
    for _number in range(3):
        make_charge(make_task(batch, state="completed"))
    [month] = alice.get("usage").json()
    assert (month["files"], month["amount"], month["currency"]) == (3, "0.3000", "USD")
    assert len(month["month"]) == 7
    # token, membership, count of the request, charges
    with django_assert_num_queries(4):
        rows = alice.get("charges").json()["results"]
    assert [row["amount"] for row in rows] == ["0.1000"] * 3
    assert {row["batch"]["id"] for row in rows} == {batch.uid}
    assert alice.get("charges?created_after=2999-01-01T00:00:00Z").json()["results"] == []
    assert charlie.get("usage").json() == []
    assert charlie.get("charges").json()["results"] == []


def test_the_account_tells_its_limits_and_its_budget(alice: Api) -> None:
    alice.account.monthly_budget = Decimal("1.00")
    alice.account.save()
    batch = make_batch(alice.account)
    make_charge(make_task(batch, state="completed"), amount=Decimal("0.25"))
    told = alice.get("account").json()
    assert (told["id"], told["batches"], told["batch_limit"]) == (alice.account.uid, 1, 10)
    assert Decimal(told["spent_this_month"]) == Decimal("0.25")
    assert Decimal(told["budget_left"]) == Decimal("0.75")
    estimate = alice.get("account/estimate?files=8").json()
    assert (estimate["amount"], estimate["fits"]) == ("0.8000", False)
    assert alice.get("account/estimate?files=7").json()["fits"] is True
    assert alice.get("account/estimate?files=0").status_code == 400


@pytest.fixture
def hooked(alice: Api) -> Batch:
    batch = make_batch(alice.account)
    batch.webhook_url = "https://example.com/hook"
    batch.save()
    return batch


def test_deliveries_are_listed_with_every_attempt(alice: Api, vera: Api, charlie: Api, hooked: Batch) -> None:
    delivery = redelivery.send_test(batch=hooked)
    DeliveryAttempt.unscoped.create(
        delivery=delivery, number=1, started_at=delivery.created_at, duration=5, status=500, answer="no way"
    )
    Delivery.unscoped.update(state="failed", ended_at=delivery.created_at)
    [row] = alice.get(f"deliveries?batch={hooked.uid}&state=failed&event=webhook.test").json()["results"]
    assert (row["id"], row["event"], row["next_attempt_at"]) == (delivery.uid, "webhook.test", None)
    told = alice.get(f"deliveries/{delivery.uid}").json()
    assert told["payload"]["type"] == "webhook.test"
    assert [(each["status"], each["answer"]) for each in told["log"]] == [(500, "no way")]
    assert vera.get(f"deliveries/{delivery.uid}").json()["log"][0]["answer"] is None
    assert alice.post(f"deliveries/{delivery.uid}/redeliver").json()["state"] == "waiting"
    assert charlie.get("deliveries").json()["results"] == []
    assert charlie.get(f"deliveries/{delivery.uid}").status_code == 404
    assert charlie.post(f"deliveries/{delivery.uid}/redeliver").status_code == 404


def test_a_webhooks_secret_is_told_once_and_renewed(alice: Api, vera: Api, hooked: Batch) -> None:
    path = f"batches/{hooked.uid}/webhook"
    told = alice.get(path).json()
    assert (told["url"], told["state"], told["problem"]) == ("https://example.com/hook", "active", None)
    first = alice.post(f"{path}/show-secret").json()["secret"]
    assert first.startswith("whsec_")
    refused = alice.post(f"{path}/show-secret")
    assert (refused.status_code, refused.json()["code"]) == (409, "secret_already_shown")
    second = alice.post(f"{path}/rotate-secret").json()["secret"]
    assert second.startswith("whsec_")
    assert second != first
    assert alice.get(path).json()["previous_secret_until"]
    for name in ("show-secret", "rotate-secret", "resume", "test", "redeliver"):
        assert vera.post(f"{path}/{name}").status_code == 403


def test_a_webhook_is_tested_and_told_again(alice: Api, charlie: Api, hooked: Batch) -> None:
    path = f"batches/{hooked.uid}/webhook"
    made = alice.post(f"{path}/test")
    assert made.status_code == 201, made.content
    assert (made.json()["event"], made.json()["state"]) == ("webhook.test", "waiting")
    Delivery.unscoped.update(state="failed", ended_at=hooked.created_at)
    since = {"since": "2020-01-01T00:00:00Z"}
    assert alice.post(f"{path}/redeliver", since).json() == {"count": 1}
    assert alice.post(f"{path}/resume").json()["state"] == "active"
    for name in ("show-secret", "rotate-secret", "resume", "test", "redeliver"):
        assert charlie.post(f"{path}/{name}", since).status_code == 404
    assert charlie.get(path).status_code == 404


def test_a_batch_without_a_url_has_nothing_to_send(alice: Api) -> None:
    batch = make_batch(alice.account)
    answer = alice.post(f"batches/{batch.uid}/webhook/test")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_webhook")
