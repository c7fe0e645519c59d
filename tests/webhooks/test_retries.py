"""Retries: a message is sent again by the retry schedule until it is accepted or given up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batches.models import Delivery, DeliveryAttempt
from batches.webhooks import redelivery, retry_policy
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db


def wait_of(delivery: Delivery, clock: Clock) -> timedelta:
    delivery.refresh_from_db()
    return delivery.next_attempt_at - clock()


def test_ten_attempts_by_the_schedule_and_then_it_has_failed(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        for number, planned in enumerate(retry_policy.DELAYS, start=1):
            clock.send()
            assert len(receiver.received) == number
            wait = wait_of(delivery, clock)
            assert planned - timedelta(seconds=3) <= wait <= planned * 1.1
            clock.forward(seconds=max(wait.total_seconds() - 2, 0))
            if number > 1:
                clock.send()
                assert len(receiver.received) == number, "too early"
            clock.forward(seconds=3)
        clock.send()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts, len(receiver.received)) == ("failed", 10, 10)
        clock.forward(days=30)
        clock.send()
        assert len(receiver.received) == 10
    numbers = DeliveryAttempt.unscoped.filter(delivery=delivery).values_list("number", flat=True)
    assert list(numbers) == list(range(1, 11))
    assert len(set(receiver.ids)) == 1


def test_each_attempt_is_signed_at_its_own_time(clock: Clock) -> None:
    with receiving(status(500), status(200)) as receiver:
        make_delivery(make_hooked_batch(receiver.url))
        clock.send()
        clock.forward(minutes=1)
        clock.send()
    first, second = receiver.received
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 60
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


@pytest.mark.parametrize("code", [429, 503])
def test_retry_after_is_honoured_for_every_message_of_the_receiver(clock: Clock, code: int) -> None:
    with receiving(status(code, Retry_After="600"), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first = make_delivery(batch)
        clock.send()
        assert wait_of(first, clock) > timedelta(seconds=590)
        make_delivery(batch)
        clock.forward(seconds=590)
        clock.send()
        assert len(receiver.received) == 1
        clock.forward(seconds=80)
        clock.send()
        assert len(receiver.received) == 3


def test_retry_after_of_another_refusal_is_for_that_message_alone(clock: Clock) -> None:
    with receiving(status(500, Retry_After="600"), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first = make_delivery(batch)
        clock.send()
        assert wait_of(first, clock) > timedelta(seconds=590)
        make_delivery(batch)
        clock.send()
        assert len(receiver.received) == 2


def test_a_redelivery_has_the_whole_schedule_again_and_the_same_id(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        for _ in range(10):
            clock.send()
            clock.forward(days=1, hours=3)
        # Ten failures over ten days pause a webhook; that has its own tests.
        delivery.batch.webhook.__class__.unscoped.update(state="active", stopped_at=None)
        delivery.refresh_from_db()
        redelivery.redeliver(delivery=delivery)
        clock.send()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.tries) == ("waiting", 1)
        assert wait_of(delivery, clock) < timedelta(seconds=10)
    assert len(set(receiver.ids)) == 1
    assert DeliveryAttempt.unscoped.count() == delivery.attempts
