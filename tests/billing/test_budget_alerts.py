"""Owners are told once at each threshold of a month's budget."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core import mail
from pytest_django.fixtures import Settings

from batches.billing import budget_alerts
from batches.models import Batch, Charge
from speechportal.accounts.models import Account
from tests.factories import add_member, make_account, make_batch, make_task, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.EMAIL_HOST = "mail.example.com"
    account = make_account("Acme", make_user("alice@example.com"), monthly_budget=Decimal(10))
    add_member(account, make_user("bob@example.com"), "manager")
    return make_batch(account)


def charge(batch: Batch, amount: int) -> None:
    task = make_task(batch, state="completed")
    Charge.unscoped.create(
        account=batch.account,
        batch=batch,
        task=task,
        batch_name=batch.name,
        input_name=task.name,
        media_duration=1000,
        amount=amount,
        currency=batch.account.currency,
    )


def test_owners_are_told_at_half_at_four_fifths_and_at_all(batch: Batch) -> None:
    for amount, expected in [(4, None), (1, 50), (2, None), (1, 80), (2, 100), (1, None)]:
        mail.outbox.clear()
        charge(batch, amount)
        budget_alerts.notify()
        subjects = [message.subject for message in mail.outbox]
        assert subjects == ([f"{expected} % of the budget of “Acme” is used"] if expected else [])
        assert all(message.to == ["alice@example.com"] for message in mail.outbox)


def test_a_leap_over_several_is_told_once(batch: Batch) -> None:
    charge(batch, 10)
    assert budget_alerts.notify() == 1
    assert budget_alerts.notify() == 0
    assert "Batches wait" in mail.outbox[0].body


def test_a_new_month_is_told_anew(batch: Batch) -> None:
    charge(batch, 5)
    Account.objects.filter(pk=batch.account_id).update(budget_alerted="2000-01:100")
    assert budget_alerts.notify() == 1


def test_owners_read_it_in_their_language(batch: Batch) -> None:
    batch.account.members.filter(email="alice@example.com").update(language="ko")
    charge(batch, 8)
    budget_alerts.notify()
    assert "예산" in mail.outbox[0].subject


def test_without_a_budget_or_mail_nothing_is_sent(batch: Batch, settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    charge(batch, 8)
    assert budget_alerts.notify() == 1
    Account.objects.filter(pk=batch.account_id).update(monthly_budget=None, budget_alerted="")
    assert budget_alerts.notify() == 0
    assert mail.outbox == []
