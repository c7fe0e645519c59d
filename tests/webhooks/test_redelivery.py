"""Redelivery: one delivery again, all since a time, or a test message."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from batches.models import Batch, Delivery, Webhook
from batches.webhooks import redelivery, selectors
from tests.factories import make_batch
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_completed, make_delivery, make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db


def test_a_delivered_message_can_be_sent_again_with_its_id_and_its_bytes(clock: Clock) -> None:
    with receiving() as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        clock.send()
        delivery.refresh_from_db()
        assert delivery.state == "delivered"
        redelivery.redeliver(delivery=delivery)
        clock.send()
        assert receiver.ids == [delivery.uid] * 2
        assert receiver.received[0].body == receiver.received[1].body
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)


def test_one_that_waits_is_sent_at_once(clock: Clock) -> None:
    with receiving(status(500), status(200)) as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        clock.send()
        delivery.refresh_from_db()
        redelivery.redeliver(delivery=delivery)
        clock.send()
        assert len(receiver.received) == 2


def test_one_that_is_under_way_is_refused() -> None:
    delivery = make_delivery(make_hooked_batch("http://127.0.0.1/"))
    Delivery.unscoped.update(
        state="sending", lease_token="0" * 32, lease_expires_at=timezone.now() + timedelta(minutes=1)
    )
    with pytest.raises(ValidationError) as caught:
        redelivery.redeliver(delivery=delivery)
    assert caught.value.code == "delivery_sending"


def test_all_since_a_time_those_that_failed_or_every_one(clock: Clock) -> None:
    with receiving(status(410)) as receiver:
        batch = make_hooked_batch(receiver.url)
        made = [make_delivery(batch) for _ in range(4)]
        now = timezone.now()
        for age, (row, state) in enumerate(
            zip(made, ("failed", "delivered", "failed", "cancelled"), strict=True)
        ):
            Delivery.unscoped.filter(pk=row.pk).update(
                state=state, ended_at=now, created_at=now - timedelta(hours=10 - age)
            )
        receiver.answer = lambda _message, _number: status(200)
        assert redelivery.redeliver_since(batch=batch, since=now - timedelta(hours=9, minutes=30)) == 2
        clock.send()
        assert sorted(receiver.ids) == sorted([made[2].uid, made[3].uid])
        yesterday = now - timedelta(days=1)
        assert redelivery.redeliver_since(batch=batch, since=yesterday, only_failed=False) == 4
        clock.send()
        assert len(receiver.ids) == 6


def test_a_test_message_goes_out(clock: Clock) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        first, second = redelivery.send_test(batch=batch), redelivery.send_test(batch=batch)
        clock.send()
        assert receiver.ids == [first.uid, second.uid]
        assert receiver.received[0].json["type"] == "webhook.test"


@pytest.mark.parametrize(("state", "code"), [("paused", "webhook_stopped"), ("gone", "webhook_stopped")])
def test_while_it_has_stopped_nothing_is_asked_of_it(state: str, code: str) -> None:
    batch = make_hooked_batch("http://127.0.0.1/")
    delivery = make_delivery(batch)
    Webhook.unscoped.update(state=state, stopped_at=timezone.now())

    def refused() -> list[str | None]:
        codes = []
        for ask in (
            lambda: redelivery.redeliver(delivery=delivery),
            lambda: redelivery.redeliver_since(batch=batch, since=timezone.now()),
            lambda: redelivery.send_test(batch=batch),
        ):
            with pytest.raises(ValidationError) as caught:
                ask()
            codes.append(caught.value.code)
        return codes

    assert refused() == [code] * 3
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url="")
    batch.refresh_from_db()
    delivery = Delivery.unscoped.get()
    assert refused() == ["no_webhook"] * 3


def test_each_account_sees_its_own(clock: Clock) -> None:
    with receiving() as receiver:
        ours, theirs = make_hooked_batch(receiver.url), make_hooked_batch(receiver.url)
        task = make_completed(ours)
        mine = make_delivery(ours)
        other = make_delivery(theirs)
        clock.send()
    account = ours.account
    assert list(selectors.list_deliveries(account)) == [mine]
    assert list(selectors.list_deliveries(account, batch=theirs)) == []
    assert list(selectors.list_deliveries(account, task=task)) == []
    assert list(selectors.list_deliveries(account, state="delivered", event="webhook.test")) == [mine]
    assert list(selectors.list_deliveries(account, state="failed")) == []
    assert selectors.attempts_of(account, mine).count() == 1
    assert selectors.attempts_of(account, other).count() == 0
    assert selectors.webhook_of(account, ours) is not None
    assert selectors.webhook_of(account, theirs) is None
    assert selectors.webhook_of(account, make_batch(account)) is None
    assert selectors.open_deliveries(account, theirs) == {}
