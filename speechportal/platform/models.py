"""`NamedLease`: leases for work that one process at a time does."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone


class NamedLease(models.Model):
    """Lease for work that one process at a time does for the whole installation.

    Two holders at once, when a slow one's lease has expired, must do no harm: a lease only saves work.
    """

    name = models.CharField(max_length=50, primary_key=True)
    holder = models.UUIDField(null=True)
    held_until = models.DateTimeField(default=timezone.now)
    last_run_at = models.DateTimeField(null=True)

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    def __str__(self) -> str:
        return self.name

    @classmethod
    def take(cls, name: str, duration: timedelta) -> uuid.UUID | None:
        """Take the lease ``name``; returns its token, or ``None`` if another process has it."""
        cls.objects.get_or_create(name=name)
        now, holder = timezone.now(), uuid.uuid4()
        taken = cls.objects.filter(name=name, held_until__lte=now).update(
            holder=holder, held_until=now + duration, last_run_at=now
        )
        return holder if taken else None

    @classmethod
    def keep(cls, name: str, holder: uuid.UUID, duration: timedelta) -> bool:
        now = timezone.now()
        kept = cls.objects.filter(name=name, holder=holder).update(held_until=now + duration, last_run_at=now)
        return bool(kept)

    @classmethod
    def last_run(cls, name: str) -> datetime | None:
        return cls.objects.filter(name=name).values_list("last_run_at", flat=True).first()

    @classmethod
    def give(cls, name: str, holder: uuid.UUID) -> None:
        cls.objects.filter(name=name, holder=holder).update(holder=None, held_until=timezone.now())
