"""An account with ten thousand waiting files does not keep another's three from starting next."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from django.db import connection
from django.utils import timezone

from batches import lifecycle
from batches.models import Batch, Task
from tests.factories import make_account, make_batch, make_task

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS = 8


def fill(batch: Batch, count: int) -> None:
    now = timezone.now()
    Task.unscoped.bulk_create(
        [
            Task(
                account_id=batch.account_id,
                batch=batch,
                connection_id=batch.connection_id,
                task_order=order,
                input_key=f"in/{order}.mp3",
                input_version="1",
                input_size=1,
                input_modified_at=now,
                name=f"{order}.mp3",
            )
            for order in range(1, count + 1)
        ],
        batch_size=1000,
    )


class Workers:
    """Threads that claim, and finish what they have claimed only when told."""

    def __init__(self, count: int) -> None:
        self.claims: list[lifecycle.Claim] = []
        self.lock = threading.Lock()
        self.count = count

    def claim(self, count: int | None = None) -> list[Task]:
        """Each worker claims one task, all at once; returns the tasks."""
        barrier = threading.Barrier(count or self.count)
        claimed: list[lifecycle.Claim] = []

        def run() -> None:
            barrier.wait()
            try:
                claim = lifecycle.claim_next("test")
                if claim:
                    with self.lock:
                        claimed.append(claim)
            finally:
                connection.close()

        threads = [threading.Thread(target=run) for _ in range(count or self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.claims += claimed
        return list(Task.unscoped.filter(pk__in=[claim.task_id for claim in claimed]))

    def finish_one(self) -> None:
        lifecycle.finish(self.claims.pop(0))


def test_the_three_start_next() -> None:
    large, small = make_batch(make_account("large")), make_batch(make_account("small"))
    fill(large, 10_000)
    workers = Workers(WORKERS)
    assert Counter(task.batch_id for task in workers.claim()) == {large.pk: WORKERS}
    three = [make_task(small).pk for _ in range(3)]
    started = []
    for _ in range(3):
        workers.finish_one()
        started += [task.pk for task in workers.claim(1)]
    assert started == three


def test_workers_that_come_free_at_once_start_them_too() -> None:
    large, small = make_batch(make_account("large")), make_batch(make_account("small"))
    fill(large, 10_000)
    workers = Workers(WORKERS)
    workers.claim()
    for _ in range(3):
        make_task(small)
    for _ in range(3):
        workers.finish_one()
    started = Counter(task.batch_id for task in workers.claim(3))
    assert started == {small.pk: 3}
    assert Task.unscoped.filter(state=Task.State.IN_PROGRESS).count() == 8
