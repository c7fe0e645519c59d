"""Slow receivers do not delay others: neither when one starts to hang, nor when many do."""

from __future__ import annotations

import threading

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Webhook
from tests.webhooks.conftest import Clock
from tests.webhooks.makers import make_delivery, make_hooked_batch
from tests.webhooks.receiver import NO_CONTENT, Received, receiving_by

pytestmark = pytest.mark.django_db


def test_a_receiver_that_begins_to_hang_holds_two_messages_and_no_other_receiver(
    clock: Clock, settings: Settings
) -> None:
    settings.WEBHOOK_THREADS, settings.WEBHOOK_TIMEOUT_SECONDS = 4, 20
    others_are_done = threading.Event()

    def hang(_message: Received, _number: int) -> bytes:
        others_are_done.wait(120)
        return NO_CONTENT

    def answer(_message: Received, number: int) -> bytes:
        if number == 30:
            held.append(len(slow.received))
            others_are_done.set()
        return NO_CONTENT

    held: list[int] = []
    with receiving_by(hang) as slow, receiving_by(answer) as quick:
        hanging, healthy = make_hooked_batch(slow.url), make_hooked_batch(quick.url)
        for _ in range(10):
            make_delivery(hanging)
        for _ in range(30):
            make_delivery(healthy)
        clock.send()
    assert held == [2]
    assert len(slow.received) == 10


def test_those_that_fail_share_half_of_the_threads(clock: Clock, settings: Settings) -> None:
    settings.WEBHOOK_THREADS, settings.WEBHOOK_TIMEOUT_SECONDS = 6, 20
    others_are_done = threading.Event()

    def hang(_message: Received, _number: int) -> bytes:
        others_are_done.wait(120)
        return NO_CONTENT

    def answer(_message: Received, number: int) -> bytes:
        if number == 30:
            held.append(len(slow.received))
            others_are_done.set()
        return NO_CONTENT

    held: list[int] = []
    with receiving_by(hang) as slow, receiving_by(answer) as quick:
        for _ in range(10):
            make_delivery(make_hooked_batch(slow.url))
        now = timezone.now()
        Webhook.unscoped.update(failing_since=now, last_failed_at=now)
        healthy = make_hooked_batch(quick.url)
        for _ in range(30):
            make_delivery(healthy)
        clock.send()
    assert held == [3]
    assert len(slow.received) == 10


def test_a_receiver_that_answers_well_is_sent_more_at_once_up_to_eight(
    clock: Clock, settings: Settings
) -> None:
    settings.WEBHOOK_TIMEOUT_SECONDS = 20
    most, now_there = 0, 0
    lock, eight = threading.Lock(), threading.Event()

    def answer(_message: Received, number: int) -> bytes:
        nonlocal most, now_there
        with lock:
            now_there += 1
            most = max(most, now_there)
        if now_there >= 8:
            eight.set()
        if number > 20:
            eight.wait(120)
        with lock:
            now_there -= 1
        return NO_CONTENT

    with receiving_by(answer) as receiver:
        batch = make_hooked_batch(receiver.url)
        for _ in range(60):
            make_delivery(batch)
        clock.send()
    assert most == 8
