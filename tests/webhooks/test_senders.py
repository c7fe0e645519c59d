"""Concurrent senders, senders that are killed, and senders that are late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from batches.models import Delivery, DeliveryAttempt
from batches.operations import jobs
from batches.webhooks import delivery_lifecycle
from batches.webhooks.delivery_lifecycle import Outcome
from batches.webhooks.sender import Sender
from speechportal.platform import queue
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import NO_CONTENT, receiving, status

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SENDER = """
import django
django.setup()
from batches.webhooks.sender import Sender
Sender().run(60)
"""


def database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return f"postgresql://{database['USER']}@/{database['NAME']}?{urlencode({'host': database['HOST']})}"


def environment() -> dict[str, str]:
    """Environment of a separate process that uses this test's database."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "speechportal.settings",
        "SPEECHPORTAL_DATABASE_URL": database_url(),
        "SPEECHPORTAL_SECRET_KEY": settings.SECRET_KEY,
        "SPEECHPORTAL_ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "SPEECHPORTAL_OUTBOUND_NETWORKS": "127.0.0.0/8",
        "SPEECHPORTAL_OUTBOUND_PORTS": "any",
        "SPEECHPORTAL_OUTBOUND_HTTP": "true",
    }


def lapse(delivery: Delivery) -> None:
    """End the lease of a delivery, as time does."""
    past = timezone.now() - timedelta(seconds=1)
    assert Delivery.unscoped.filter(pk=delivery.pk, state="sending").update(lease_expires_at=past)


def start_sender() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SENDER], cwd=ROOT, env=environment())


def test_a_sender_killed_between_the_answer_and_its_record_is_made_good_with_the_same_id(
    clock: Clock,
) -> None:
    killed = threading.Event()
    with receiving() as receiver:

        def answer(_message: object, number: int) -> bytes:
            if number == 1:  # Accepted, but the sender does not live to hear it.
                sender.send_signal(signal.SIGKILL)
                sender.wait(120)
                killed.set()
            return NO_CONTENT

        receiver.answer = answer
        delivery = make_delivery(make_hooked_batch(receiver.url))
        sender = start_sender()
        assert killed.wait(120)
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts) == ("sending", 1)
        clock.send()
        assert len(receiver.received) == 1, "its lease still runs"

        lapse(delivery)
        assert delivery_lifecycle.reap(clock()) == 1
        clock.send()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    assert receiver.ids == [delivery.uid] * 2
    assert receiver.received[0].body == receiver.received[1].body
    log = DeliveryAttempt.unscoped.filter(delivery=delivery).values_list("number", "status", "error_code")
    assert list(log) == [(1, None, "sender_died"), (2, 204, "")]


def test_a_message_that_kills_every_sender_fails_in_the_end() -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        delivery = make_delivery(batch)
        now = timezone.now()
        for _ in range(10):
            (channel,) = delivery_lifecycle.ready_channels(now)
            assert len(delivery_lifecycle.claim(channel, 5, uuid.uuid4(), now)) == 1
            lapse(delivery)
            assert delivery_lifecycle.reap(now) == 1
        assert list(delivery_lifecycle.ready_channels(now)) == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("failed", 10, "sender_died")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite's clock is the machine's")
@pytest.mark.parametrize(("of_sender", "of_scheduler"), [(-3, 0), (0, 3)])
def test_the_clock_of_a_machine_ends_no_lease(of_sender: int, of_scheduler: int) -> None:
    with receiving() as receiver:
        right = timezone.now()
        delivery = make_delivery(make_hooked_batch(receiver.url))
        Delivery.unscoped.update(next_attempt_at=right - timedelta(hours=4))
        now = right + timedelta(hours=of_sender)
        (channel,) = delivery_lifecycle.ready_channels(now)
        assert len(delivery_lifecycle.claim(channel, 5, uuid.uuid4(), now)) == 1
        assert delivery_lifecycle.reap(right + timedelta(hours=of_scheduler)) == 0
        lapse(delivery)
        assert delivery_lifecycle.reap(right) == 1


def test_what_a_late_sender_records_changes_nothing() -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        delivery = make_delivery(batch)
        now, slow, quick = timezone.now(), uuid.uuid4(), uuid.uuid4()
        (channel,) = delivery_lifecycle.ready_channels(now)
        delivery_lifecycle.claim(channel, 1, slow, now)
        lapse(delivery)
        assert delivery_lifecycle.reap(now) == 1
        delivery_lifecycle.claim(channel, 1, quick, now)
        for token, attempt in ((slow, 1), (slow, 2), (quick, 1)):
            delivery_lifecycle.record(
                [Outcome(delivery.pk, attempt, receiver.url, now, 5, status=200)], token, now
            )
            delivery.refresh_from_db()
            assert delivery.state == "sending"
        delivery_lifecycle.record([Outcome(delivery.pk, 2, receiver.url, now, 5, status=200)], quick, now)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)


def test_two_senders_at_once_send_each_message_once() -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        wanted = sorted(make_delivery(batch).uid for _ in range(80))
        start = threading.Barrier(3)

        def send() -> None:
            try:
                start.wait(120)
                Sender(linger=timedelta(0)).run(60)
            finally:
                connection.close()

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert sorted(receiver.ids) == wanted
    assert set(Delivery.unscoped.values_list("state", "attempts")) == {("delivered", 1)}
    assert DeliveryAttempt.unscoped.count() == 80


def test_a_sender_that_is_to_stop_ends_what_is_under_way_and_starts_nothing(clock: Clock) -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        for _ in range(20):
            make_delivery(batch)
        Sender(clock=clock, stopping=lambda: bool(receiver.received)).run(60)
        sent = len(receiver.received)
    assert 0 < sent < 20
    assert Delivery.unscoped.filter(state="delivered").count() == sent
    assert not Delivery.unscoped.filter(state="sending").exists()


def test_a_first_retry_does_not_wait_for_the_beat() -> None:
    with receiving(status(500), NO_CONTENT) as receiver:
        delivery = make_delivery(make_hooked_batch(receiver.url))
        begun = time.monotonic()
        Sender().run(60)
        assert 4.5 < time.monotonic() - begun < 30
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)


def test_making_a_delivery_wakes_a_sender_once_and_a_lost_message_is_made_again_by_the_beat() -> None:
    with receiving() as receiver:
        batch = make_hooked_batch(receiver.url)
        make_delivery(batch)
        make_delivery(batch)
        assert queue.queued_messages("deliveries") == 1
        OrmQ.objects.all().delete()
        jobs._deliver_due()
        assert queue.queued_messages("deliveries") == 1
        jobs.send_deliveries()
    assert len(receiver.received) == 2


def test_the_cluster_of_deliveries_sends_what_is_announced() -> None:
    arrived = threading.Event()
    with receiving() as receiver:

        def answer(_message: object, _number: int) -> bytes:
            arrived.set()
            return NO_CONTENT

        receiver.answer = answer
        delivery = make_delivery(make_hooked_batch(receiver.url))
        cluster = subprocess.Popen(
            [sys.executable, "manage.py", "cluster", "deliveries"],
            cwd=ROOT,
            env={**environment(), "Q_CLUSTER_NAME": "deliveries"},
            start_new_session=True,
        )
        try:
            assert arrived.wait(120)
            end = time.monotonic() + 240
            while delivery.state != "delivered" and time.monotonic() < end:
                time.sleep(0.1)
                delivery.refresh_from_db()
            cluster.terminate()
            assert cluster.wait(120) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()
    assert (delivery.state, delivery.attempts) == ("delivered", 1)
    assert receiver.ids == [delivery.uid]
