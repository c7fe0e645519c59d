"""Overdue work is detected by its age, and attributed to the cluster that should do it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from batches.models import Batch, ExecutionResult, Task
from batches.operations import health
from batches.reports import execution_results
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.tasks import lifecycle
from speechportal.platform.models import NamedLease
from tests.factories import claimed, make_batch, make_task

pytestmark = pytest.mark.django_db
LONG = timedelta(hours=1)


def found() -> dict[str, str]:
    return {age.name: age.cluster for age in health.problems()}


@pytest.fixture
def batch() -> Batch:
    batch = make_batch()
    Batch.unscoped.update(next_poll_at=timezone.now() + LONG)
    return batch


def test_an_idle_portal_is_healthy(batch: Batch) -> None:
    assert found() == {}
    assert {age.seconds for age in health.ages()} == {0.0}
    assert health.stalled_clusters() == []


def scheduler_stopped(_batch: Batch) -> None:
    NamedLease(name="scheduler", last_run_at=timezone.now() - LONG).save()


def polls_are_late(batch: Batch) -> None:
    Batch.unscoped.filter(pk=batch.pk).update(next_poll_at=timezone.now() - LONG)


def nobody_takes_a_file(batch: Batch) -> None:
    make_task(batch, available_at=timezone.now() - LONG)


def nobody_reaps(batch: Batch) -> None:
    claimed(batch)
    Task.unscoped.update(lease_expires_at=timezone.now() - LONG)


def nobody_moves(batch: Batch) -> None:
    _, claim = claimed(batch)
    lifecycle.finish(claim)
    Task.unscoped.update(move_due_at=timezone.now() - LONG)


def nobody_reports(batch: Batch) -> None:
    make_task(batch, state=Task.State.COMPLETED)
    execution_results.collect(batch, at_least=1)
    ExecutionResult.unscoped.update(due_at=timezone.now() - LONG)


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (scheduler_stopped, {"scheduler": "short"}),
        (polls_are_late, {"poll": "short"}),
        (nobody_takes_a_file, {"untaken": "recognition"}),
        (nobody_reaps, {"lease": "short"}),
        (nobody_moves, {"move": "short"}),
        (nobody_reports, {"report": "short"}),
    ],
)
def test_each_kind_of_standstill_is_told(
    batch: Batch, trouble: Callable[[Batch], None], expected: dict[str, str]
) -> None:
    trouble(batch)
    assert found() == expected
    assert health.stalled_clusters() == sorted(set(expected.values()))


def test_files_that_wait_while_others_are_recognised_are_no_trouble(batch: Batch) -> None:
    claimed(batch)
    make_task(batch, available_at=timezone.now() - LONG)
    assert found() == {}


def test_what_is_paused_or_suspended_does_not_count(batch: Batch) -> None:
    nobody_takes_a_file(batch)
    polls_are_late(batch)
    task_services.pause_batch(batch=batch)
    assert found() == {}
    task_services.resume_batch(batch=batch)
    Batch.unscoped.update(next_poll_at=timezone.now() - LONG)
    assert set(found()) == {"poll", "untaken"}
    batch_services.suspend_account(account=batch.account)
    assert found() == {}
