"""Order of deliveries: those about one task are sent in order, others do not wait."""

from __future__ import annotations

import pytest

from batches.webhooks import endpoint
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db


def test_a_later_delivery_about_the_same_waits_until_the_one_before_has_ended(clock: Clock) -> None:
    with receiving(status(500), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first, second = (make_delivery(batch, about="tsk_1") for _ in range(2))
        clock.send()
        assert receiver.ids == [first.uid]
        clock.forward(seconds=1)
        clock.send()
        assert receiver.ids == [first.uid]
        clock.forward(seconds=6)
        clock.send()
        assert receiver.ids == [first.uid, first.uid, second.uid]


def test_it_does_not_wait_for_one_that_failed_for_good(clock: Clock) -> None:
    with receiving(status(410), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first, second = (make_delivery(batch, about="tsk_1") for _ in range(2))
        clock.send()
        endpoint.resume(batch=batch)
        clock.send()
        assert receiver.ids == [first.uid, second.uid]


def test_others_of_the_same_receiver_do_not_wait(clock: Clock) -> None:
    with receiving(status(500), status(200)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first = make_delivery(batch, about="tsk_1")
        clock.send()
        blocked, other = make_delivery(batch, about="tsk_1"), make_delivery(batch, about="tsk_2")
        clock.send()
        assert receiver.ids == [first.uid, other.uid]
    blocked.refresh_from_db()
    assert blocked.attempts == 0


def test_the_same_thing_told_to_two_receivers_does_not_wait(clock: Clock) -> None:
    with receiving(status(500)) as slow, receiving() as quick:
        make_delivery(make_hooked_batch(slow.url), about="acc_1")
        delivery = make_delivery(make_hooked_batch(quick.url), about="acc_1")
        clock.send()
        assert quick.ids == [delivery.uid]
