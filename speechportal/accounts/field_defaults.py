"""Defaults of fields that migrations refer to. Functions here are never renamed or removed."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.utils import timezone


def price_per_file() -> Decimal:
    return Decimal(settings.PRICE_PER_FILE)


def currency() -> str:
    return str(settings.CURRENCY)


def time_zone() -> str:
    return str(settings.TIME_ZONE)


def batch_limit() -> int:
    return int(settings.BATCH_LIMIT)


def in_a_week() -> datetime:
    return timezone.now() + timedelta(days=7)
