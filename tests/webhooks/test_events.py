"""Event types: each event is announced once, in the transaction in which it happens."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction
from pytest_django.fixtures import Settings

from batches.models import Batch, Delivery, ExecutionResult, Task
from batches.reports import execution_results
from batches.status import account_holds, batch_status
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from batches.webhooks import events
from batches.webhooks.events import EVENTS, BatchRecovered, WebhookTest
from batches.webhooks.outbox import announce, announce_task
from tests.factories import claimed, make_account, make_batch, make_task
from tests.webhooks.makers import make_hooked_batch, make_transcript

pytestmark = pytest.mark.django_db

EVENT_FIELD: Any = Delivery._meta.get_field("event")
URL = "http://127.0.0.1:9/hook"
CAUSE = Failure("access_denied", "The key may not list the bucket.", {})


def messages_of(batch: Batch) -> list[dict[str, Any]]:
    rows = Delivery.unscoped.filter(batch=batch).order_by("pk")
    return [json.loads(row.payload) for row in rows]


def test_a_completed_task_is_announced_with_its_completion() -> None:
    batch = make_hooked_batch(URL)
    task, claim = claimed(batch)
    make_transcript(task)
    lifecycle.finish(claim)
    (message,) = messages_of(batch)
    assert message["type"] == "task.completed"
    data = message["data"]
    assert data["account"] == {"id": batch.account.uid}
    assert data["batch"] == {"id": batch.uid, "name": batch.name}
    assert data["task"]["id"] == task.uid
    assert data["task"]["state"] == "completed"
    assert data["task"]["input"]["path"] == task.input_key
    assert data["task"]["finished_at"].endswith("Z")
    delivery = Delivery.unscoped.get()
    assert (delivery.task, delivery.about, delivery.account) == (task, task.uid, batch.account)


def test_a_rollback_takes_the_announcement_back() -> None:
    batch = make_hooked_batch(URL)
    _task, claim = claimed(batch)
    with transaction.atomic():
        lifecycle.finish(claim)
        assert Delivery.unscoped.count() == 1
        transaction.set_rollback(True)
    assert Delivery.unscoped.count() == 0


def test_a_failed_task_says_why_and_each_failure_is_an_event_of_its_own() -> None:
    batch = make_hooked_batch(URL)
    task, claim = claimed(batch)
    lifecycle.fail(claim, Failure("not_media", "This is no media file.", {}))
    assert announce_task(batch, task.pk) is not None, "once more: no second delivery"
    Task.unscoped.filter(pk=task.pk).update(move_due_at=None, execution_result=None)
    assert lifecycle.retry(Task.unscoped.filter(pk=task.pk)) == 1
    again = scheduling.claim_next("test")
    assert again is not None
    lifecycle.fail(again, Failure("not_media", "This is no media file.", {}))
    first, second = messages_of(batch)
    assert first["type"] == second["type"] == "task.failed"
    assert first["data"]["cause"] == {"code": "not_media", "message": "This is no media file."}
    assert first["data"]["result"] == {
        "result": "FAILED",
        "message": "This is no media file.",
        "token": task.uid,
    }
    ids = set(Delivery.unscoped.values_list("uid", flat=True))
    assert len(ids) == 2


def test_a_batch_in_error_is_announced_once_for_each_cause_and_its_recovery_too() -> None:
    batch = make_hooked_batch(URL)
    batch_status.set_error(batch.pk, CAUSE)
    batch_status.set_error(batch.pk, CAUSE)
    batch_status.set_error(batch.pk, Failure("bucket_missing", "There is no such bucket.", {}))
    batch_status.set_normal(batch.pk)
    batch_status.set_normal(batch.pk)
    assert [(each["type"], each["data"]["cause"]["code"]) for each in messages_of(batch)] == [
        ("batch.error", "access_denied"),
        ("batch.error", "bucket_missing"),
        ("batch.recovered", "bucket_missing"),
    ]


def test_an_execution_result_is_announced_once_its_file_is_there() -> None:
    batch = make_hooked_batch(URL)
    tasks = [make_task(batch, state=Task.State.COMPLETED) for _ in range(2)]
    with transaction.atomic():
        result = execution_results.collect(batch, at_least=1)
    assert result is not None
    assert messages_of(batch) == []
    execution_results.write(result.pk)
    execution_results.write(result.pk)
    (message,) = messages_of(batch)
    assert message["type"] == "execution_result.created"
    result = ExecutionResult.unscoped.get()
    assert message["data"]["execution_result"]["path"] == result.key
    assert [each["id"] for each in message["data"]["execution_result"]["tasks"]] == [
        task.uid for task in tasks
    ]


def test_a_reached_budget_is_told_by_every_batch_of_the_account_once_a_month_and_amount() -> None:
    account = make_account(monthly_budget=Decimal("5.0000"))
    one, other = make_hooked_batch(URL, account=account), make_hooked_batch(URL, account=account)
    silent = make_batch(account)
    stranger = make_hooked_batch(URL)
    account_holds.hold_for_budget(account)
    account_holds.hold_for_budget(account)
    for batch in (one, other):
        reached = [each for each in messages_of(batch) if each["type"] == "budget.reached"]
        assert len(reached) == 1
        assert reached[0]["data"]["budget"]["amount"] == "5.0000"
        assert reached[0]["data"]["budget"]["currency"] == account.currency
    assert messages_of(silent) == messages_of(stranger) == []


def test_a_batch_without_a_webhook_makes_no_rows() -> None:
    batch = make_batch()
    _task, claim = claimed(batch)
    lifecycle.finish(claim)
    batch_status.set_error(batch.pk, CAUSE)
    assert Delivery.unscoped.count() == 0


def test_a_worker_that_died_too_often_is_announced_as_a_failure(settings: Settings) -> None:
    settings.MAX_ATTEMPTS = 1
    batch = make_hooked_batch(URL)
    task, _claim = claimed(batch)
    Task.unscoped.filter(pk=task.pk).update(lease_expires_at="2020-01-01T00:00:00Z")
    assert lifecycle.reap() == 1
    (message,) = messages_of(batch)
    assert (message["type"], message["data"]["cause"]["code"]) == ("task.failed", "worker_died")


def test_the_registry_lists_every_event_and_a_new_one_needs_no_migration() -> None:
    assert list(EVENTS) == [
        *("task.completed", "task.failed", "batch.error", "batch.recovered"),
        *("execution_result.created", "budget.reached", "webhook.test"),
    ]

    class BatchMoved(BatchRecovered):
        type = "batch.moved_to.elsewhere"

    try:
        batch = make_hooked_batch(URL)
        delivery = announce(batch, BatchMoved(batch.uid, "moved", "It was moved."))
        assert delivery is not None
        assert EVENT_FIELD.clean(delivery.event, delivery) == "batch.moved_to.elsewhere"
        assert json.loads(delivery.payload)["data"]["cause"]["code"] == "moved"
        call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    finally:
        del EVENTS[BatchMoved.type]
    assert events.label_of(delivery.event) == "batch.moved_to.elsewhere"


def test_an_event_type_is_plain_and_checked() -> None:
    batch = make_hooked_batch(URL)
    delivery = announce(batch, WebhookTest(batch.uid, "test"))
    assert delivery is not None
    for text in ("No Event", "task.completed\n", ".", "a..b", "x" * 61):
        with pytest.raises(ValidationError):
            EVENT_FIELD.clean(text, delivery)
