"""The database's clock, which all machines share; their own may be apart."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone


def ahead() -> float:
    """Seconds by which the database's clock is ahead of this machine's; negative if it is behind."""
    return (now() - timezone.now()).total_seconds()


def now() -> datetime:
    """Current time. Asks the database; for a query, take :func:`after`."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (answer,) = cursor.fetchone()
    found: datetime = answer
    return found


def after(seconds: float = 0.0) -> Combinable | datetime:
    """Time so many seconds from now, for use in a query. SQLite's clock is this machine's."""
    start = Now() if connection.vendor == "postgresql" else timezone.now()
    return start + timedelta(seconds=seconds)
