"""Budget alerts: owners, and others who ask for them, are notified once of each step of a month's budget."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.db.models import F
from pytest_django.fixtures import Settings

from batches.billing import budget_alerts
from batches.models import Batch, Charge, ChatChannel, Subscription
from batches.notifications import sending
from batches.services import notifications
from speechportal.accounts.models import Account, Membership
from tests.factories import add_member, make_account, make_batch, make_chat_channel, make_task, make_user

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


def told() -> list[str]:
    """Note the steps, let two minutes pass and send; returns the subjects of the mails."""
    mail.outbox.clear()
    budget_alerts.note_steps()
    age = timedelta(minutes=2)
    Subscription.unscoped.update(told_until=F("told_until") - age)
    ChatChannel.unscoped.update(told_until=F("told_until") - age)
    Account.objects.exclude(budget_alerted_at=None).update(budget_alerted_at=F("budget_alerted_at") - age)
    sending.send_due()
    return [str(message.subject) for message in mail.outbox]


def test_owners_are_told_at_half_at_four_fifths_and_at_all(batch: Batch) -> None:
    assert told() == []
    for amount, expected in [(4, None), (1, 50), (2, None), (1, 80), (2, 100), (1, None)]:
        charge(batch, amount)
        assert told() == ([f"{expected} % of the budget of “Acme” is used"] if expected else [])
        assert all(message.to == ["alice@example.com"] for message in mail.outbox)
        assert told() == []


def test_a_leap_over_several_is_told_once(batch: Batch) -> None:
    sending.send_due()
    charge(batch, 10)
    assert len(told()) == 1
    assert "Batches wait" in mail.outbox[0].body
    assert f"/a/{batch.account.uid}/usage/" in mail.outbox[0].body
    assert told() == []


def test_a_new_month_is_told_anew(batch: Batch) -> None:
    sending.send_due()
    charge(batch, 5)
    Account.objects.filter(pk=batch.account_id).update(budget_alerted="2000-01:100")
    assert len(told()) == 1


def test_each_member_chooses_and_channels_have_it(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = Membership.objects.order_by("pk")
    sending.send_due()
    notifications.choose(membership=alice, frequencies={"budget": "never"})
    notifications.choose(membership=bob, frequencies={"budget": "now"})
    channel = make_chat_channel(batch.account)
    ChatChannel.unscoped.filter(pk=channel.pk).update(topics=["budget"])
    posted: list[str] = []
    monkeypatch.setattr("batches.notifications.chat.post", lambda _channel, text: posted.append(text))
    charge(batch, 8)
    assert len(told()) == 1
    assert mail.outbox[0].to == ["bob@example.com"]
    assert len(posted) == 1
    assert posted[0].startswith("80 % of the budget of “Acme” is used: 8 ")


def test_members_of_before_get_the_new_topic(batch: Batch) -> None:
    """Owners who chose among the topics of an earlier release."""
    sending.send_due()
    Subscription.unscoped.filter(topic="budget").delete()
    sending.send_due()
    charge(batch, 5)
    assert len(told()) == 1


def test_owners_read_it_in_their_language(batch: Batch) -> None:
    sending.send_due()
    batch.account.members.filter(email="alice@example.com").update(language="ko")
    charge(batch, 8)
    [subject] = told()
    assert "예산" in subject


def test_without_a_budget_or_mail_nothing_is_sent(batch: Batch, settings: Settings) -> None:
    sending.send_due()
    settings.EMAIL_HOST = ""
    charge(batch, 8)
    assert budget_alerts.note_steps() == 1
    assert budget_alerts.note_steps() == 0
    Account.objects.filter(pk=batch.account_id).update(monthly_budget=None, budget_alerted="")
    assert told() == []
