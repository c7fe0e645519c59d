"""Task lifecycle: each transition has one winner, and the end of a task is complete."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, Charge, ExecutionResult, StoredTranscript, Task
from batches.models.ledger import ImmutableRow
from batches.models.recognition_settings import RecognitionSettings
from batches.status import batch_status
from batches.status.failures import Failure
from batches.tasks import lifecycle, scheduling
from batches.tasks.leases import CancelRequested, Lease, LeaseLost
from tests.factories import claimed, make_account, make_batch, make_domain, make_task

pytestmark = pytest.mark.django_db
BAD = Failure("not_media", "This is not an audio or video file.", {})


def lapse(claim: Lease) -> None:
    Task.unscoped.filter(pk=claim.task_id).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_a_claim_counts_the_attempt_and_keeps_the_settings_of_its_start() -> None:
    batch = make_batch(language="ja")
    task, claim = claimed(batch)
    assert (task.state, task.attempts, task.lease_token) == (Task.State.IN_PROGRESS, 1, claim.token)
    assert task.settings is not None
    assert task.settings.recognition.language == "ja"
    Batch.unscoped.filter(pk=batch.pk).update(recognition=RecognitionSettings(language="ko-KR"))
    lapse(claim)
    lifecycle.reap()
    assert scheduling.claim_next("other") is not None
    task.refresh_from_db()
    assert task.settings.recognition.language == "ja"


def test_nothing_to_claim() -> None:
    batch = make_batch()
    make_task(batch, available_at=timezone.now() + timedelta(minutes=1))
    make_task(batch, state=Task.State.COMPLETED)
    assert scheduling.claim_next("test") is None


def test_tasks_of_a_batch_are_claimed_in_order() -> None:
    batch = make_batch()
    orders = [make_task(batch).pk for _ in range(3)]
    claims = [scheduling.claim_next("test") for _ in range(3)]
    assert [claim.task_id for claim in claims if claim] == orders


def test_the_account_with_least_in_progress_comes_first() -> None:
    large, small = make_batch(), make_batch()
    for _ in range(20):
        make_task(large)
    first = scheduling.claim_next("test")
    waiting_before = make_task(small)
    second = scheduling.claim_next("test")
    assert first is not None
    assert second is not None
    assert second.task_id == waiting_before.pk


def test_accounts_with_as_much_in_progress_take_turns() -> None:
    batches = [make_batch() for _ in range(3)]
    for batch in batches:
        for _ in range(2):
            make_task(batch)
    accounts = []
    for _ in range(6):
        claim = scheduling.claim_next("test")
        assert claim is not None
        accounts.append(Task.unscoped.get(pk=claim.task_id).account_id)
        lifecycle.finish(claim)
    assert accounts[:3] == accounts[3:]
    assert len(set(accounts)) == 3


def test_finishing_charges_and_schedules_the_move_in_one_go() -> None:
    batch = make_batch(make_account(price_per_file=Decimal("0.25")))
    task, claim = claimed(batch, media_duration=61_000)
    lifecycle.finish(claim)
    task.refresh_from_db()
    assert (task.state, task.progress, task.lease_token) == (Task.State.COMPLETED, 100, None)
    assert task.move_due_at is not None
    charge = Charge.unscoped.get(task=task)
    assert (charge.amount, charge.media_duration, charge.input_name) == (Decimal("0.25"), 61_000, task.name)


def test_a_failed_task_costs_nothing() -> None:
    task, claim = claimed(make_batch())
    lifecycle.fail(claim, BAD)
    task.refresh_from_db()
    assert (task.state, task.error_code) == (Task.State.FAILED, "not_media")
    assert task.move_due_at is not None
    assert not Charge.unscoped.exists()


@pytest.mark.parametrize("act", ["finish", "fail", "heartbeat", "release", "checkpoint"])
def test_a_late_worker_has_no_effect(act: str) -> None:
    task, claim = claimed(make_batch())
    lapse(claim)
    assert lifecycle.reap() == 1
    new_claim = scheduling.claim_next("other")
    assert new_claim is not None
    with pytest.raises(LeaseLost):
        {
            "finish": lambda: lifecycle.finish(claim),
            "fail": lambda: lifecycle.fail(claim, BAD),
            "heartbeat": lambda: lifecycle.heartbeat(claim, "recognising", 50),
            "release": lambda: lifecycle.release(claim, None, count_attempt=False),
            "checkpoint": lambda: lifecycle.checkpoint(claim, {}, "words", 1),
        }[act]()
    task.refresh_from_db()
    assert (task.state, task.lease_token) == (Task.State.IN_PROGRESS, new_claim.token)
    assert not Charge.unscoped.exists()
    assert not StoredTranscript.unscoped.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
@pytest.mark.parametrize(("of_worker", "of_scheduler"), [(-3, 0), (0, 3)])
def test_the_clock_of_a_machine_ends_no_lease(
    monkeypatch: pytest.MonkeyPatch, of_worker: int, of_scheduler: int
) -> None:
    right = timezone.now

    def set_clock(hours: int) -> None:
        monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=hours))

    task = make_task(make_batch())
    Task.unscoped.update(available_at=right() - timedelta(hours=4))
    set_clock(of_worker)
    claim = scheduling.claim_next("worker")
    assert claim is not None
    set_clock(of_scheduler)
    assert lifecycle.reap() == 0
    set_clock(of_worker)
    lifecycle.heartbeat(claim, Task.Stage.RECOGNISING, 40)
    set_clock(of_scheduler)
    assert lifecycle.reap() == 0
    set_clock(0)
    lapse(claim)
    assert lifecycle.reap() == 1
    task.refresh_from_db()
    assert task.state == Task.State.WAITING


def test_an_outage_of_the_database_fails_no_task(settings: Settings) -> None:
    settings.MAX_ATTEMPTS = 1
    task, claim = claimed(make_batch())
    lapse(claim)
    assert lifecycle.reap(outage=True) == 1
    task.refresh_from_db()
    found = (task.state, task.error_code, task.attempts, task.delays)
    assert found == (Task.State.WAITING, "database_fault", 0, 1)
    # A file that takes the whole machine with it is not tried for ever.
    Task.unscoped.update(delays=lifecycle.DELAYS)
    again = scheduling.claim_next("worker")
    assert again is not None
    lapse(again)
    assert lifecycle.reap(outage=True) == 1
    task.refresh_from_db()
    assert (task.state, task.error_code) == (Task.State.FAILED, "worker_died")


def test_a_heartbeat_extends_the_lease(settings: Settings) -> None:
    task, claim = claimed(make_batch())
    lapse(claim)
    lifecycle.heartbeat(claim, Task.Stage.RECOGNISING, 40)
    assert lifecycle.reap() == 0
    task.refresh_from_db()
    assert (task.stage, task.progress) == (Task.Stage.RECOGNISING, 40)


def test_a_task_that_kills_its_worker_again_and_again_fails_and_says_so(settings: Settings) -> None:
    settings.MAX_ATTEMPTS = 3
    task = make_task(make_batch())
    for _ in range(3):
        claim = scheduling.claim_next("test")
        assert claim is not None
        lapse(claim)
        assert lifecycle.reap() == 1
    task.refresh_from_db()
    assert (task.state, task.error_code, task.attempts) == (Task.State.FAILED, "worker_died", 3)
    assert "3 times" in task.error_message
    assert scheduling.claim_next("test") is None


def test_a_task_handed_back_is_claimed_again_without_a_mark() -> None:
    task, claim = claimed(make_batch())
    lifecycle.release(claim, None, count_attempt=False)
    task.refresh_from_db()
    assert (task.state, task.attempts, task.error_code) == (Task.State.WAITING, 0, "")
    assert scheduling.claim_next("test") is not None


def test_a_task_held_up_waits_and_says_why() -> None:
    task, claim = claimed(make_batch())
    cause = Failure("unreachable", "The storage does not answer.", {})
    lifecycle.release(claim, cause, count_attempt=False)
    task.refresh_from_db()
    assert (task.state, task.error_code) == (Task.State.WAITING, "unreachable")
    assert scheduling.claim_next("test") is None


def test_cancelling() -> None:
    batch = make_batch()
    task, claim = claimed(batch)
    waiting = make_task(batch)
    assert lifecycle.cancel_all(batch) == 2
    waiting.refresh_from_db()
    assert waiting.state == Task.State.CANCELLED
    with pytest.raises(CancelRequested):
        lifecycle.heartbeat(claim, Task.Stage.RECOGNISING, 40)
    with pytest.raises(CancelRequested):
        lifecycle.finish(claim)
    lifecycle.confirm_cancel(claim)
    task.refresh_from_db()
    assert (task.state, task.reserved) == (Task.State.CANCELLED, None)
    assert not Charge.unscoped.exists()


def test_a_worker_that_dies_while_cancelling_leaves_a_cancelled_task() -> None:
    batch = make_batch()
    task, claim = claimed(batch)
    lifecycle.cancel_all(batch)
    lapse(claim)
    lifecycle.reap()
    task.refresh_from_db()
    assert task.state == Task.State.CANCELLED


def test_a_retry_starts_afresh_and_is_not_charged_twice() -> None:
    batch = make_batch()
    task, claim = claimed(batch)
    lifecycle.finish(claim)
    # As if a later stage had failed after the charge was made.
    Task.unscoped.filter(pk=task.pk).update(
        state=Task.State.FAILED, error_code="x", error_message="x", move_due_at=None
    )
    assert lifecycle.retry(Task.unscoped.filter(pk=task.pk)) == 1
    again = scheduling.claim_next("test")
    assert again is not None
    lifecycle.finish(again)
    assert Charge.unscoped.filter(task=task).count() == 1


def test_a_retry_reads_a_moved_input_where_it_lies() -> None:
    task = make_task(
        make_batch(),
        state=Task.State.FAILED,
        moved_key="in/batch/failed/a.wav",
        moved_version="v2",
        moved_at=timezone.now(),
    )
    lifecycle.retry(Task.unscoped.filter(pk=task.pk))
    task.refresh_from_db()
    assert (task.input_key, task.input_version) == ("in/batch/failed/a.wav", "v2")
    assert (task.moved_key, task.moved_at) == ("", None)


def test_ten_finished_tasks_make_an_execution_result() -> None:
    batch = make_batch()
    for number in range(21):
        _, claim = claimed(batch)
        if number % 5 == 4:
            lifecycle.fail(claim, BAD)
        else:
            lifecycle.finish(claim)
    results = list(ExecutionResult.unscoped.filter(batch=batch).order_by("number"))
    assert [(result.number, result.task_count, result.tasks.count()) for result in results] == [
        (1, 10, 10),
        (2, 10, 10),
    ]
    assert Task.unscoped.filter(execution_result=None).count() == 1


def test_the_status_of_a_batch_has_its_cause() -> None:
    batch = make_batch()
    batch_status.set_error(batch.pk, Failure("bucket_missing", "There is no such bucket.", {}))
    batch.refresh_from_db()
    assert (batch.status, batch.cause) == (Batch.Status.ERROR, "There is no such bucket.")
    batch_status.set_normal(batch.pk)
    batch.refresh_from_db()
    assert (batch.status, batch.cause) == (Batch.Status.NORMAL, "")


def test_the_ledger_cannot_be_rewritten() -> None:
    _, claim = claimed(make_batch())
    lifecycle.finish(claim)
    charge = Charge.unscoped.get()
    charge.amount = Decimal(0)
    with pytest.raises(ImmutableRow):
        charge.save()
    with pytest.raises(ImmutableRow):
        charge.delete()
    with pytest.raises(ImmutableRow):
        Charge.unscoped.filter(pk=charge.pk).update(amount=0)
    with (
        pytest.raises(IntegrityError, match="charge_immutable"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE batches_charge SET amount = 0")


def test_a_domain_has_one_batch_in_the_database() -> None:
    account = make_account()
    domain = make_domain(account)
    make_batch(account, domain=domain)
    with pytest.raises(IntegrityError), transaction.atomic():
        Batch.unscoped.create(
            account=account, name="second", domain=domain, connection=Batch.unscoped.get().connection
        )
