"""Maintenance notice on members' pages, cached for a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.core.cache import cache

from speechportal.platform.models import Maintenance

KEPT_SECONDS = 5
_KEY = "maintenance"


@dataclass(frozen=True, slots=True)
class Notice:
    """Maintenance notice: when recognition was paused (None: it runs), and support staff's message."""

    since: datetime | None = None
    text: str = ""


def notice() -> Notice:
    found = cache.get(_KEY)
    if not isinstance(found, Notice):
        row = Maintenance.objects.filter(started_at__isnull=False).first()
        found = Notice(row.started_at, row.notice) if row else Notice()
        cache.set(_KEY, found, KEPT_SECONDS)
    return found


def forget_notice() -> None:
    """Clear this process's cache: its next page reads the notice from the database."""
    cache.delete(_KEY)
