"""The database's clock, which all machines share; their own may be apart."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import connection
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone


def after(seconds: float = 0.0) -> Combinable | datetime:
    """Time so many seconds from now, for use in a query. SQLite's clock is this machine's."""
    start = Now() if connection.vendor == "postgresql" else timezone.now()
    return start + timedelta(seconds=seconds)
