"""Shared fixtures of the webhook tests: loopback is allowed, and the clock is controlled by the test."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.webhooks.sender import Sender


class Clock:
    """Clock of the sender, which a test can move forward."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return timezone.now() + self.ahead

    def forward(self, **duration: float) -> None:
        self.ahead += timedelta(**duration)

    def send(self) -> None:
        """Send the due deliveries once."""
        Sender(clock=self, linger=timedelta(0)).run(60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings: Settings) -> None:
    settings.OUTBOUND_NETWORKS = ["127.0.0.0/8"]
    settings.OUTBOUND_PORTS = []
    settings.OUTBOUND_HTTP = True
    settings.WEBHOOK_TIMEOUT_SECONDS = 2
