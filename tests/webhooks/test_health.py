"""Webhook health: sending to a dead receiver stops, and its batch shows the reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_django.fixtures import Settings

from batches.models import Batch, Delivery, Webhook
from batches.services import batches as batch_services
from batches.webhooks import delivery_lifecycle, endpoint
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import receiving, status

pytestmark = pytest.mark.django_db


def state_of(batch: Batch) -> str:
    return Webhook.unscoped.get(batch=batch).state


def test_410_stops_everything_and_the_batch_says_why(clock: Clock) -> None:
    with receiving(status(410)) as receiver:
        batch = make_hooked_batch(receiver.url)
        first = make_delivery(batch)
        clock.send()
        later = make_delivery(batch)
        clock.forward(days=2)
        clock.send()
        assert len(receiver.received) == 1
    first.refresh_from_db()
    later.refresh_from_db()
    assert (first.state, later.state) == ("failed", "waiting")
    problem = endpoint.for_batch(batch).problem
    assert problem is not None
    assert problem.code == "webhook_gone"
    assert "410" in problem.sentence


def test_five_days_of_failures_pause_and_resuming_sends_what_waits(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        batch = make_hooked_batch(receiver.url)
        for day in range(6):
            assert state_of(batch) == "active", day
            make_delivery(batch)
            clock.send()
            clock.forward(days=1)
        clock.send()
        assert state_of(batch) == "paused"
        problem = endpoint.for_batch(batch).problem
        assert problem is not None
        assert problem.code == "webhook_paused"
        assert "500" in problem.sentence
        sent = len(receiver.received)
        waiting = make_delivery(batch)
        clock.forward(days=1)
        clock.send()
        assert len(receiver.received) == sent
        receiver.answer = lambda _message, _number: status(200)
        endpoint.resume(batch=batch)
        clock.send()
    waiting.refresh_from_db()
    assert waiting.state == "delivered"
    assert endpoint.for_batch(batch).problem is None
    assert not Delivery.unscoped.filter(state="waiting").exists()


def test_one_success_in_between_begins_the_five_days_anew(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        batch = make_hooked_batch(receiver.url)
        for day in range(9):
            answer = status(200) if day == 4 else status(500)
            receiver.answer = lambda _message, _number, answer=answer: answer  # type: ignore[misc]
            make_delivery(batch)
            clock.send()
            clock.forward(days=1)
        assert state_of(batch) == "active"


def test_a_failure_after_a_week_of_silence_does_not_pause(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        batch = make_hooked_batch(receiver.url)
        delivery = make_delivery(batch)
        clock.send()
        Delivery.unscoped.filter(pk=delivery.pk).delete()
        clock.forward(days=7)
        make_delivery(batch)
        clock.send()
    assert state_of(batch) == "active"


def test_nobody_listening_is_a_failure_too(clock: Clock) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
    delivery = make_delivery(batch)
    clock.send()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_error) == ("waiting", "connection_failed")
    webhook = Webhook.unscoped.get(batch=batch)
    assert webhook.failing_since is not None
    assert "Connection refused" in webhook.last_problem


def test_another_address_begins_anew_and_gets_what_waits(clock: Clock) -> None:
    with receiving(status(500), status(410)) as old, receiving() as new:
        batch = make_hooked_batch(old.url)
        retried = make_delivery(batch)
        clock.send()
        make_delivery(batch)
        clock.send()
        waiting = make_delivery(batch)
        batch_services.update_batch(batch=batch, webhook_url=new.url)
        clock.send()
        assert sorted(new.ids) == sorted([retried.uid, waiting.uid])
    assert state_of(batch) == "active"


def test_without_an_address_nothing_waits_and_nothing_is_made(clock: Clock) -> None:
    with receiving(status(500)) as receiver:
        batch = make_hooked_batch(receiver.url)
        delivery = make_delivery(batch)
        clock.send()
        batch = batch_services.update_batch(batch=batch, webhook_url="")
        delivery.refresh_from_db()
        assert delivery.state == "cancelled"
        clock.forward(hours=1)
        clock.send()
        assert len(receiver.received) == 1
        with pytest.raises(AssertionError):
            make_delivery(batch)


def test_what_comes_back_after_the_address_was_taken_away_is_cancelled_too() -> None:
    batch = make_hooked_batch("http://127.0.0.1/")
    kept = make_delivery(make_hooked_batch("http://127.0.0.1/"))
    delivery = make_delivery(batch)
    Batch.unscoped.filter(pk=batch.pk).update(webhook_url="")
    endpoint.tidy()
    delivery.refresh_from_db()
    kept.refresh_from_db()
    assert (delivery.state, kept.state) == ("cancelled", "waiting")


def test_the_answer_of_an_old_address_does_not_stop_the_new_one(clock: Clock) -> None:
    with receiving(status(410)) as old, receiving() as new:
        batch = make_hooked_batch(old.url)
        delivery = make_delivery(batch)

        def change_meanwhile(_message: object, _number: int) -> bytes:
            changed.append(new.url)
            return status(410)

        changed: list[str] = []
        old.answer = change_meanwhile
        # The row changes after the message was sent, before its answer is recorded.
        record = delivery_lifecycle.record

        def late(*arguments: object) -> None:
            if changed:
                batch_services.update_batch(batch=batch, webhook_url=changed.pop())
            record(*arguments)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(delivery_lifecycle, "record", late)
            clock.send()
        assert state_of(batch) == "active"
        clock.forward(minutes=1)
        clock.send()
        assert new.ids == [delivery.uid]


def test_a_hanging_receiver_is_sent_one_message_at_a_time(clock: Clock, settings: Settings) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 1
    with receiving() as receiver:
        server = receiver.server
        assert server is not None

        def hang(_message: object, _number: int) -> bytes:
            server.wait(120)
            return b""

        receiver.answer = hang
        batch = make_hooked_batch(receiver.url)
        for _ in range(5):
            make_delivery(batch)
        clock.send()
        assert len(receiver.received) >= 5
    tries = list(Delivery.unscoped.filter(batch=batch).values_list("attempts", flat=True))
    assert min(tries) >= 1
    since = Webhook.unscoped.get(batch=batch).failing_since
    assert since is not None
    assert clock() - since < timedelta(seconds=60)
