"""Failed attempts of a task are kept with their failure reasons, also over retries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Task, TaskAttempt
from batches.operations.privacy import retention
from batches.services import tasks as task_services
from batches.status.failures import CATALOGUE, Failure, failure_of_task
from batches.tasks import attempts, lifecycle, scheduling
from batches.tasks.leases import Lease, LeaseLost
from tests.clients import Client
from tests.factories import claimed, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db
BAD = Failure("not_media", "This is not an audio or video file.", {})
SENTENCE = "The file is not audio or video in a format that can be read."
OUTAGE = Failure("unreachable", "The storage cannot be reached.", {})


def outcomes(task: Task) -> list[tuple[str, str]]:
    return list(TaskAttempt.unscoped.filter(task=task).values_list("outcome", "error_code"))


def claim_again(task: Task, worker: str = "second:2") -> Lease:
    Task.unscoped.filter(pk=task.pk).update(available_at=timezone.now())
    claim = scheduling.claim_next(worker)
    assert claim is not None
    assert claim.task_id == task.pk
    return claim


def failed_once(task: Task, claim: Lease) -> None:
    """Fail the task and retry it, once its failure is reported and its input moved aside."""
    lifecycle.fail(claim, BAD)
    Task.unscoped.filter(pk=task.pk).update(move_due_at=None, execution_result=None)
    task.refresh_from_db()
    task_services.retry_task(task=task)


def test_a_retry_keeps_the_earlier_failure_and_its_cause() -> None:
    task, claim = claimed(make_batch())
    failed_once(task, claim)
    task.refresh_from_db()
    assert (task.state, task.error_code, task.attempts) == (Task.State.WAITING, "", 0)
    [attempt] = TaskAttempt.objects.for_account(task.account)
    assert (attempt.outcome, attempt.error_code, attempt.worker) == ("failed", "not_media", "test")
    assert attempt.started_at <= attempt.ended_at
    failure = failure_of_task(attempt)
    assert failure is not None
    assert failure.sentence == SENTENCE
    lifecycle.finish(claim_again(task))
    assert outcomes(task) == [("failed", "not_media")]


def test_a_completed_task_has_no_such_attempt() -> None:
    task, claim = claimed(make_batch())
    lifecycle.finish(claim)
    assert outcomes(task) == []


def test_releases_are_kept_with_and_without_a_failure() -> None:
    task, claim = claimed(make_batch())
    lifecycle.release(claim, OUTAGE, count_attempt=False)
    lifecycle.release(claim_again(task), None, count_attempt=False)
    assert outcomes(task) == [("released", "unreachable"), ("stopped", "")]


def test_an_attempt_of_a_dead_worker_is_lost_and_the_last_one_fails(settings: Settings) -> None:
    settings.MAX_ATTEMPTS = 2
    task, _claim = claimed(make_batch())
    for _ in range(2):
        Task.unscoped.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert lifecycle.reap() == 1
        task.refresh_from_db()
        if task.state == Task.State.WAITING:
            claim_again(task)
    assert outcomes(task) == [("lost", "worker_died"), ("failed", "worker_died")]


def test_a_running_task_that_is_cancelled_is_kept_and_a_waiting_one_made_no_attempt() -> None:
    task, claim = claimed(make_batch())
    waiting = make_task(make_batch())
    task_services.cancel_task(task=task)
    lifecycle.confirm_cancel(claim)
    task_services.cancel_task(task=waiting)
    assert outcomes(task) == [("cancelled", "")]
    assert outcomes(waiting) == []


def test_whoever_lost_the_lease_records_nothing() -> None:
    task, claim = claimed(make_batch())
    Task.unscoped.filter(pk=task.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    lifecycle.reap()
    with pytest.raises(LeaseLost):
        lifecycle.fail(claim, BAD)
    with pytest.raises(LeaseLost):
        lifecycle.release(claim, BAD, count_attempt=True)
    assert outcomes(task) == [("lost", "worker_died")]


def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "KEPT", 2)
    task, claim = claimed(make_batch())
    lifecycle.release(claim, BAD, count_attempt=False)
    for _ in range(2):
        lifecycle.release(claim_again(task), OUTAGE, count_attempt=False)
    assert outcomes(task) == [("released", "unreachable")] * 2


def test_they_go_with_the_logs_and_with_the_task() -> None:
    account = make_account(log_days=30)
    task, claim = claimed(make_batch(account))
    lifecycle.release(claim, OUTAGE, count_attempt=False)
    lifecycle.release(claim_again(task), BAD, count_attempt=False)
    old = TaskAttempt.unscoped.filter(task=task).earliest("pk")
    TaskAttempt.unscoped.filter(pk=old.pk).update(ended_at=timezone.now() - timedelta(days=31))
    assert retention.enforce()["attempts at tasks"] == 1
    assert outcomes(task) == [("released", "not_media")]
    task.delete()
    assert not TaskAttempt.unscoped.exists()


def test_the_page_shows_when_how_why_and_where() -> None:
    owner = make_user()
    task, claim = claimed(make_batch(make_account(owner=owner)))
    failed_once(task, claim)
    client = Client()
    client.force_login(owner)
    text = client.get(f"/batches/{task.batch.uid}/tasks/{task.uid}/").content.decode()
    section = text[text.index("Attempts that did not complete") :]
    assert SENTENCE in section
    assert str(CATALOGUE["not_media"].advice) in section
    assert '<span class="sub mono">test</span>' in section
    fresh = make_task(task.batch)
    text = client.get(f"/batches/{task.batch.uid}/tasks/{fresh.uid}/").content.decode()
    assert "Attempts that did not complete" not in text
