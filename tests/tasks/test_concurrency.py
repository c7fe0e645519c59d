"""Rules that hold under concurrent requests and workers, tested with threads that have own connections."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.intake import poll_schedule, polling
from batches.models import Batch, Charge, ExecutionResult, Task, limits
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.tasks import lifecycle, scheduling
from batches.tasks.leases import LeaseLost
from domains.models import Domain
from speechportal.accounts.models import Account
from tests.factories import make_account, make_batch, make_connection, make_domain, make_task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def triggers() -> None:
    limits.install_triggers()


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads that start together; returns what each returned or raised, in order."""
    outcomes: list[Any] = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            outcomes[index] = call()
        except Exception as error:  # noqa: BLE001 - the outcome is judged by the test
            outcomes[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


def test_the_batch_limit_holds_against_bare_inserts_at_once() -> None:
    account = make_account(batch_limit=3)
    storage = make_connection(account)
    domains = [make_domain(account) for _ in range(8)]

    def insert(domain: Domain) -> Batch:
        return Batch.unscoped.create(account=account, name=domain.name, domain=domain, connection=storage)

    outcomes = at_once(*(lambda domain=domain: insert(domain) for domain in domains))
    assert Counter(type(outcome) for outcome in outcomes) == {Batch: 3, IntegrityError: 5}
    sentences = {
        str(limits.as_validation_error(e).message) for e in outcomes if isinstance(e, IntegrityError)
    }
    assert len(sentences) == 1
    assert "as many batches as it may have" in sentences.pop()


def test_one_batch_per_domain_when_two_create_at_once() -> None:
    account = make_account()
    storage, domain = make_connection(account), make_domain(account)

    def create(name: str) -> Batch:
        return batch_services.create_batch(
            account=account, name=name, domain=domain, connection=storage, input_path=name, result_path="out"
        )

    outcomes = at_once(lambda: create("one"), lambda: create("two"))
    assert Counter(type(outcome) for outcome in outcomes) == {Batch: 1, ValidationError: 1}
    assert Batch.unscoped.filter(domain=domain).count() == 1


def test_no_batch_on_a_domain_that_becomes_free_at_once() -> None:
    account = make_account()
    storage = make_connection(account)
    for _ in range(5):
        domain = make_domain(account)

        def create(domain: Domain = domain) -> Batch:
            return Batch.unscoped.create(account=account, name=domain.name, domain=domain, connection=storage)

        def free(domain: Domain = domain) -> int:
            return Domain.unscoped.filter(pk=domain.pk).update(plan=Domain.Plan.FREE)

        outcomes = at_once(create, free)
        assert sum(isinstance(outcome, IntegrityError) for outcome in outcomes) == 1, outcomes
    assert not Batch.unscoped.filter(domain__plan=Domain.Plan.FREE).exists()


def test_none_on_a_free_domain_whatever_path_it_takes() -> None:
    account = make_account()
    free, storage = make_domain(account, plan=Domain.Plan.FREE), make_connection(account)
    batch = make_batch(account)
    refused: list[Callable[[], object]] = [
        lambda: Batch.unscoped.create(account=account, name="b", domain=free, connection=storage),
        lambda: Batch.unscoped.filter(pk=batch.pk).update(domain=free),
        lambda: Domain.unscoped.filter(batch=batch).update(plan=Domain.Plan.FREE),
    ]
    for way in refused:
        with pytest.raises(IntegrityError, match="batch_on_free_domain"):
            way()


def test_eight_workers_claim_each_task_once() -> None:
    batches = [make_batch() for _ in range(2)]
    for batch in batches:
        for _ in range(20):
            make_task(batch)

    def claim_all() -> list[int]:
        claims = iter(lambda: scheduling.claim_next("test"), None)
        return [claim.task_id for claim in claims]

    outcomes = at_once(*[claim_all] * 8)
    claimed = [task_id for outcome in outcomes for task_id in outcome]
    assert sorted(claimed) == sorted(Task.unscoped.values_list("pk", flat=True))
    assert set(Task.unscoped.values_list("attempts", flat=True)) == {1}


def test_finishing_at_once_counts_to_ten_exactly(settings: Settings) -> None:
    batch = make_batch()
    for _ in range(24):
        make_task(batch)
    claims = [claim for _ in range(24) if (claim := scheduling.claim_next("test"))]

    def finish(part: int) -> None:
        for claim in claims[part::6]:
            lifecycle.finish(claim)

    assert at_once(*(lambda part=part: finish(part) for part in range(6))) == [None] * 6
    results = ExecutionResult.unscoped.filter(batch=batch).order_by("number")
    assert [(result.number, result.tasks.count()) for result in results] == [(1, 10), (2, 10)]
    assert Charge.unscoped.count() == 24


def test_one_of_two_that_finish_the_same_claim_wins() -> None:
    make_task(make_batch())
    claim = scheduling.claim_next("test")
    assert claim is not None
    outcomes = at_once(lambda: lifecycle.finish(claim), lambda: lifecycle.finish(claim))
    assert Counter(type(outcome) for outcome in outcomes) == {type(None): 1, LeaseLost: 1}
    assert Charge.unscoped.count() == 1


def test_two_polls_at_once_make_one_task_of_a_file(settings: Settings) -> None:
    settings.SETTLE_SECONDS = 0
    batch = make_batch()
    assert batch.connection is not None
    for number in range(5):
        batch.connection.store().put(f"in/{number}.mp3", b"sound")
    polling.poll(batch.pk)
    at_once(*[lambda: polling.poll(batch.pk)] * 4)
    assert sorted(Task.unscoped.values_list("name", flat=True)) == [f"{number}.mp3" for number in range(5)]
    assert sorted(Task.unscoped.values_list("task_order", flat=True)) == [1, 2, 3, 4, 5]


def test_a_due_poll_goes_to_one_of_two_beats() -> None:
    batch = make_batch()
    outcomes = at_once(*[poll_schedule.claim_due] * 4)
    assert sorted(outcomes) == [[], [], [], [batch.pk]]


def test_editing_while_tasks_start_and_end_never_locks_up() -> None:
    batch = make_batch()
    for _ in range(40):
        make_task(batch)

    def recognise() -> None:
        for claim in iter(lambda: scheduling.claim_next("test"), None):
            lifecycle.finish(claim)

    def edit() -> None:
        for number in range(20):
            batch_services.update_batch(batch=batch, name=f"batch {number}", priority=number % 2)
            task_services.pause_batch(batch=batch)
            task_services.resume_batch(batch=batch)

    def poll() -> None:
        for _ in range(20):
            polling.poll(batch.pk)

    assert at_once(recognise, recognise, edit, poll) == [None] * 4
    recognise()  # What a pause has kept from them.
    assert Charge.unscoped.count() == 40


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer, so nobody waits for a row")
def test_an_account_that_is_claimed_from_is_passed_over_for_its_equal_alone() -> None:
    busy, equal = make_batch(), make_batch()
    first = make_task(busy)
    task = make_task(equal)
    locked, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Account.objects.select_for_update(no_key=True).get(pk=busy.account_id)
            locked.set()
            done.wait(60)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(60)
    claim = scheduling.claim_next("other")
    assert claim is not None
    assert claim.task_id == task.pk, "of the next account, without waiting for the first"
    # An account with many more running tasks is none to go to: the claim waits for the first.
    for _ in range(3):
        late = make_task(equal)
        Task.unscoped.filter(pk=late.pk).update(
            state="in_progress",
            lease_token=uuid.uuid4(),
            lease_expires_at=timezone.now() + timedelta(minutes=5),
            started_at=timezone.now(),
            settings=equal.task_settings(),
        )
    make_task(equal)
    threading.Timer(0.5, done.set).start()
    claim = scheduling.claim_next("other")
    holder.join(60)
    assert claim is not None
    assert claim.task_id == first.pk
