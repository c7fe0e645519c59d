"""Budgets: cost is reserved before work starts, then released or turned into a charge."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.utils import timezone, translation

from batches.billing import budget
from batches.billing.adjustments import adjust
from batches.models import Batch, Charge, Task
from batches.services import tasks as task_services
from batches.status import account_holds, batch_status
from batches.status.failures import Failure, failure_of_batch
from batches.tasks import lifecycle, scheduling
from speechportal.accounts.models import Account
from tests.factories import claimed, make_account, make_batch, make_task


def account_with(amount: str, price: str = "0.10") -> Account:
    return make_account(monthly_budget=Decimal(amount), price_per_file=Decimal(price))


@pytest.mark.django_db
def test_a_claim_sets_the_price_aside_and_finishing_charges_it() -> None:
    account = account_with("1.00")
    task, claim = claimed(make_batch(account))
    assert task.reserved == Decimal("0.10")
    assert budget.left(account) == Decimal("0.90")
    Account.objects.update(price_per_file=Decimal("0.50"))  # Said before the work started: 0.10.
    lifecycle.finish(claim)
    assert Task.unscoped.get().reserved is None
    assert Charge.unscoped.get().amount == Decimal("0.10")
    assert budget.left(account) == Decimal("0.90")


@pytest.mark.django_db
@pytest.mark.parametrize("end", ["fail", "release", "cancel", "reap"])
def test_what_is_not_delivered_gives_its_money_back(end: str) -> None:
    account = account_with("1.00")
    task, claim = claimed(make_batch(account))
    if end == "fail":
        lifecycle.fail(claim, Failure("not_media", "This is not an audio or video file.", {}))
    elif end == "release":
        lifecycle.release(claim, None, count_attempt=False)
    elif end == "cancel":
        lifecycle.cancel(Task.unscoped.filter(pk=task.pk))
        lifecycle.confirm_cancel(claim)
    else:
        Task.unscoped.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        lifecycle.reap()
    assert budget.left(account) == Decimal("1.00")
    assert not Charge.unscoped.exists()


@pytest.mark.django_db
def test_a_reached_budget_stops_the_batches_and_says_so() -> None:
    account = account_with("0.25")
    batch, other = make_batch(account), make_batch(account)
    stranger = make_batch()
    for _ in range(4):
        make_task(batch)
    claims = [claim for _ in range(4) if (claim := scheduling.claim_next("test"))]
    assert len(claims) == 2
    for held in (batch, other):
        held.refresh_from_db()
        assert (held.status, held.cause_code) == (Batch.Status.ERROR, "budget_reached")
    stranger.refresh_from_db()
    assert stranger.status == Batch.Status.NORMAL
    assert not scheduling.claimable().exists()
    with translation.override("en"):
        cause = failure_of_batch(batch)
    assert cause is not None
    assert "0.25 USD" in str(cause.sentence)
    assert "Raise the budget" in str(cause.advice)


@pytest.mark.django_db
def test_another_account_is_served_although_the_first_has_no_money() -> None:
    poor = make_batch(account_with("0.00"))
    rich = make_batch()
    make_task(poor)
    task = make_task(rich)
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert claim.task_id == task.pk


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["raised", "taken away", "the task in progress failed"])
def test_the_batches_go_on_when_there_is_money_again(how: str) -> None:
    account = account_with("0.10")
    batch = make_batch(account)
    make_task(batch)
    make_task(batch)
    claim = scheduling.claim_next("test")
    assert claim is not None
    assert scheduling.claim_next("test") is None
    account_holds.reconcile()
    batch.refresh_from_db()
    assert batch.cause_code == "budget_reached"
    if how == "raised":
        Account.objects.update(monthly_budget=Decimal("0.20"))
    elif how == "taken away":
        Account.objects.update(monthly_budget=None)
    else:
        lifecycle.fail(claim, Failure("not_media", "This is not an audio or video file.", {}))
    account_holds.reconcile()
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.NORMAL, "")
    assert scheduling.claim_next("test") is not None


@pytest.mark.django_db
def test_the_month_turns_at_midnight_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    account = account_with("0.10")
    batch = make_batch(account)
    moment = datetime(2031, 1, 31, 23, 59, 59, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: moment)
    _, claim = claimed(batch)
    lifecycle.finish(claim)
    make_task(batch, available_at=moment)
    assert scheduling.claim_next("test") is None
    account_holds.reconcile()
    batch.refresh_from_db()
    assert batch.cause_code == "budget_reached"
    moment = datetime(2031, 2, 1, 0, 0, 0, tzinfo=UTC)
    account_holds.reconcile()
    assert scheduling.claim_next("test") is not None
    assert budget.month_start(
        datetime(2031, 2, 1, 8, 0, tzinfo=timezone.get_fixed_timezone(9 * 60)), UTC
    ) == datetime(2031, 1, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_a_good_poll_does_not_hide_the_budget() -> None:
    batch = make_batch(account_with("0.00"))
    make_task(batch)
    assert scheduling.claim_next("test") is None
    batch_status.after_successful_poll(batch.pk)
    batch_status.set_normal(batch.pk)
    batch_status.set_error(batch.pk, Failure("bucket_missing", "There is no such bucket.", {}))
    batch.refresh_from_db()
    assert batch.cause_code == "budget_reached"


@pytest.mark.django_db
def test_the_charge_is_said_before() -> None:
    account = account_with("0.35")
    told = task_services.estimate(account=account, files=3)
    assert (told.amount, told.currency, told.budget_left) == (Decimal("0.30"), "USD", Decimal("0.35"))
    assert told.fits
    assert not task_services.estimate(account=account, files=4).fits
    assert task_services.estimate(account=make_account(), files=10**6).fits


@pytest.mark.django_db(transaction=True)
def test_workers_at_once_never_spend_more_than_the_budget() -> None:
    account = account_with("1.00")
    batch = make_batch(account)
    for _ in range(30):
        make_task(batch)
    barrier = threading.Barrier(8)

    def claim_and_finish() -> None:
        barrier.wait()
        try:
            for number in range(30):
                claim = scheduling.claim_next("test")
                if claim is None:
                    account_holds.reconcile()
                elif number % 4 == 3:
                    lifecycle.release(claim, None, count_attempt=False)
                else:
                    lifecycle.finish(claim)
        finally:
            connection.close()

    workers = [threading.Thread(target=claim_and_finish) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert Charge.unscoped.count() == 10
    assert budget.left(account) == Decimal("0.00")
    assert not Task.unscoped.filter(state__in=Task.LEASED).exists()


@pytest.mark.django_db
def test_what_staff_give_back_of_this_month_can_be_spent_again() -> None:
    account = account_with("0.10")
    batch = make_batch(account)
    _, claim = claimed(batch)
    lifecycle.finish(claim)
    make_task(batch)
    assert scheduling.claim_next("test") is None
    adjust(charge=Charge.unscoped.get(), amount=Decimal("-0.10"), reason="The recording was empty.")
    assert budget.left(account) == Decimal("0.10")
    account_holds.reconcile()
    assert scheduling.claim_next("test") is not None
