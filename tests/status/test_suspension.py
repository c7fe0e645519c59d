"""Nothing of a suspended account is polled or started; its batches say why; other accounts go on."""

from __future__ import annotations

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.intake import poll_schedule, polling
from batches.models import Batch, Task
from batches.services import batches as batch_services
from batches.status import account_holds
from batches.tasks import lifecycle, scheduling
from speechportal.accounts.models import Account
from tests.factories import claimed, make_batch, make_task
from tests.workbench import put

pytestmark = pytest.mark.django_db


def test_a_suspended_account_stands_still(settings: Settings) -> None:
    settings.SETTLE_SECONDS = 0
    batch, other = make_batch(), make_batch()
    running, claim = claimed(batch)
    make_task(batch)
    put(batch, "a.mp3")
    polling.poll(batch.pk)
    batch_services.suspend_account(account=batch.account)
    assert batch.account.is_suspended
    assert poll_schedule.claim_due() == [other.pk]
    assert polling.poll(batch.pk) == 0
    assert scheduling.claim_next("test") is None
    batch.refresh_from_db()
    assert (batch.status, batch.cause_code) == (Batch.Status.ERROR, "account_suspended")
    lifecycle.finish(claim)
    running.refresh_from_db()
    assert running.state == Task.State.COMPLETED


def test_it_goes_on_once_it_is_reinstated() -> None:
    batch = make_batch()
    make_task(batch)
    batch_services.suspend_account(account=batch.account)
    batch_services.suspend_account(account=batch.account)
    batch_services.reinstate_account(account=batch.account)
    batch.refresh_from_db()
    assert batch.status == Batch.Status.NORMAL
    assert poll_schedule.claim_due() == [batch.pk]
    assert scheduling.claim_next("test") is not None


def test_an_account_that_was_edited_by_other_means_is_noticed() -> None:
    batch = make_batch()
    Account.objects.filter(pk=batch.account_id).update(suspended_at=timezone.now())
    account_holds.reconcile()
    batch.refresh_from_db()
    assert batch.cause_code == "account_suspended"
    Account.objects.filter(pk=batch.account_id).update(suspended_at=None)
    account_holds.reconcile()
    batch.refresh_from_db()
    assert batch.cause_code == ""
