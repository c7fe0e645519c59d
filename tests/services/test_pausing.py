"""A paused batch does nothing new until it is resumed; a batch of high priority goes first."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from pytest_django.fixtures import Settings

from batches.intake import poll_schedule, polling
from batches.models import Batch, Task
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.tasks import lifecycle, scheduling
from tests.factories import claimed, make_account, make_batch, make_task
from tests.workbench import put

pytestmark = pytest.mark.django_db


def test_a_paused_batch_is_neither_polled_nor_claimed_from(settings: Settings) -> None:
    settings.SETTLE_SECONDS = 0
    batch = make_batch()
    put(batch, "a.mp3")
    make_task(batch)
    assert task_services.pause_batch(batch=batch).is_paused
    assert scheduling.claim_next("test") is None
    assert not scheduling.claimable().exists()
    assert poll_schedule.claim_due() == []
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 0
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL


def test_what_is_in_progress_ends() -> None:
    batch = make_batch()
    task, claim = claimed(batch)
    task_services.pause_batch(batch=batch)
    lifecycle.finish(claim)
    task.refresh_from_db()
    assert task.state == Task.State.COMPLETED


def test_resuming_polls_and_goes_on_at_once() -> None:
    batch = make_batch()
    make_task(batch)
    task_services.pause_batch(batch=batch)
    Batch.unscoped.update(next_poll_at="2100-01-01T00:00Z")
    task_services.resume_batch(batch=batch)
    batch.refresh_from_db()
    assert batch.poll_queued_at is not None  # at once, and not queued again
    assert poll_schedule.claim_due() == []
    assert scheduling.claim_next("test") is not None


def test_pausing_and_resuming_twice_is_fine() -> None:
    batch = make_batch()
    first = task_services.pause_batch(batch=batch).paused_at
    assert task_services.pause_batch(batch=batch).paused_at == first
    assert not task_services.resume_batch(batch=batch).is_paused
    assert not task_services.resume_batch(batch=batch).is_paused


def test_a_deleted_batch_cannot_be_paused() -> None:
    batch = make_batch()
    batch_services.delete_batch(batch=batch)
    with pytest.raises(ValidationError) as refused:
        task_services.pause_batch(batch=batch)
    assert refused.value.code == "batch_deleted"


def test_priority_counts_within_the_account_and_not_against_others() -> None:
    account, other = make_account(), make_account()
    low, normal, high = (make_batch(account, priority=priority) for priority in (-1, 0, 1))
    elsewhere = make_batch(other, priority=-1)
    for batch in (low, normal, high, low, normal, high):
        make_task(batch)
    make_task(elsewhere)
    claims = [scheduling.claim_next("test") for _ in range(7)]
    order = [Task.unscoped.get(pk=claim.task_id).batch for claim in claims if claim]
    assert [batch for batch in order if batch != elsewhere] == [high, high, normal, normal, low, low]
    assert elsewhere in order[:2]


def test_batches_of_one_priority_are_served_in_the_order_of_discovery() -> None:
    account = make_account()
    one, two = make_batch(account), make_batch(account)
    tasks = [make_task(batch).pk for batch in (two, one, two, one)]
    claims = [scheduling.claim_next("test") for _ in range(4)]
    assert [claim.task_id for claim in claims if claim] == tasks


def test_an_unknown_priority_is_refused_by_the_database() -> None:
    batch = make_batch()
    with pytest.raises(IntegrityError, match="batch_priority_known"):
        Batch.unscoped.filter(pk=batch.pk).update(priority=2)
