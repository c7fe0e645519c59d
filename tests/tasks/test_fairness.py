"""Fair scheduling: ten thousand waiting files of one account do not delay another account's three."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from batches.models import Batch, Task
from batches.tasks import lifecycle, scheduling
from batches.tasks.leases import Lease
from speechportal.accounts.models import Account
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
    """Threads that claim tasks, and complete them only when the test says so."""

    def __init__(self, count: int) -> None:
        self.claims: list[Lease] = []
        self.lock = threading.Lock()
        self.count = count

    def claim(self, count: int | None = None) -> list[Task]:
        """Each worker claims one task, all at once; returns the tasks."""
        barrier = threading.Barrier(count or self.count)
        claimed: list[Lease] = []

        def run() -> None:
            barrier.wait()
            try:
                claim = scheduling.claim_next("test")
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


@pytest.mark.parametrize("count", [1, 2])
def test_they_start_next_even_with_fewer_workers_than_files(count: int) -> None:
    large, small = make_batch(make_account("large")), make_batch(make_account("small"))
    fill(large, 10_000)
    workers = Workers(1)
    for _ in range(count):
        workers.claim()
    for _ in range(5):  # The large account has been at work for a while.
        workers.finish_one()
        workers.claim()
    dropped = [make_task(small).pk for _ in range(5)]
    started = []
    for _ in range(8):
        workers.finish_one()
        started += workers.claim()
    assert [task.pk for task in started[:3]] == dropped[:3]
    # From then on they share.
    assert [task.batch_id for task in started].count(small.pk) == 5
    assert len({task.batch_id for task in started[3:5]}) == 2


def test_more_accounts_than_workers_take_turns() -> None:
    large = make_batch(make_account("large"))
    fill(large, 1000)
    workers = Workers(1)
    workers.claim()
    workers.claim()
    for _ in range(4):
        workers.finish_one()
        workers.claim()
    small = [make_batch(make_account(f"small {number}")) for number in range(4)]
    for _ in range(3):
        for batch in small:
            make_task(batch)
    started = []
    for _ in range(13):
        workers.finish_one()
        started += [task.batch_id for task in workers.claim()]
    rounds = [started[first : first + 4] for first in (0, 4, 8)]
    assert all(set(each) == {batch.pk for batch in small} for each in rounds), rounds
    assert started[12] == large.pk


def test_a_turn_comes_back_and_no_more_than_three_gather() -> None:
    large, small = make_batch(make_account("large")), make_batch(make_account("small"))
    fill(large, 100)
    workers = Workers(1)
    for _ in range(3):
        make_task(small)
    assert len([workers.claim() for _ in range(8)]) == 8
    while workers.claims:
        workers.finish_one()
    for _ in range(10):
        make_task(small)
    # As if both had been at rest for so long that the small account has two turns again; the large has none.
    accounts = Account.objects.filter(pk=small.account_id)
    accounts.update(turns_used_until=timezone.now() + scheduling.TURN_COMES_BACK)
    started = [workers.claim()[0].batch_id for _ in range(3)]
    assert started == [small.pk, small.pk, large.pk]
    # However long it rests, three turns are all.
    while workers.claims:
        workers.finish_one()
    accounts.update(turns_used_until=timezone.now() - timedelta(days=9))
    started = [workers.claim()[0].batch_id for _ in range(4)]
    assert started == [small.pk] * 3 + [large.pk]
