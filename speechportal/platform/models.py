"""`NamedLease`: lease for work that one process at a time does. `Maintenance`: maintenance mode."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.platform import database_clock

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class NamedLease(models.Model):
    """Lease for work that one process at a time does for the whole installation.

    A lease only avoids duplicate work. Two holders at once must do no harm: a slow one's lease may expire.
    Its times are of the database's clock.
    """

    name = models.CharField(_("name"), max_length=50, primary_key=True)
    holder = models.UUIDField(null=True)
    held_until = models.DateTimeField(_("held until"), default=timezone.now)
    last_run_at = models.DateTimeField(_("last run"), null=True)

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    def __str__(self) -> str:
        return self.name

    @classmethod
    def take(cls, name: str, duration: timedelta) -> uuid.UUID | None:
        """Take the lease ``name``; returns its token, or ``None`` if another process has it."""
        cls.objects.get_or_create(name=name, defaults={"held_until": _LONG_AGO})
        holder = uuid.uuid4()
        free = cls.objects.filter(name=name, held_until__lte=database_clock.after())
        return holder if cls._extend(free, duration, holder) else None

    @classmethod
    def keep(cls, name: str, holder: uuid.UUID, duration: timedelta) -> bool:
        return cls._extend(cls.objects.filter(name=name, holder=holder), duration, holder)

    @staticmethod
    def _extend(leases: models.QuerySet[NamedLease], duration: timedelta, holder: uuid.UUID) -> bool:
        until = database_clock.after(duration.total_seconds())
        return bool(leases.update(holder=holder, held_until=until, last_run_at=database_clock.after()))

    @classmethod
    def note_run(cls, name: str) -> None:
        """Note a heartbeat: ``name`` runs now, in however many processes."""
        now = database_clock.after()
        if not cls.objects.filter(name=name).update(last_run_at=now):
            cls.objects.get_or_create(name=name, defaults={"held_until": _LONG_AGO, "last_run_at": now})

    @classmethod
    def last_run(cls, name: str) -> datetime | None:
        return cls.objects.filter(name=name).values_list("last_run_at", flat=True).first()

    @classmethod
    def give(cls, name: str, holder: uuid.UUID) -> None:
        cls.objects.filter(name=name, holder=holder).update(holder=None, held_until=database_clock.after())

    @classmethod
    def is_idle(cls, name: str, duration: timedelta) -> bool:
        """Whether nobody has run the work for so long; not if it has never run."""
        latest = database_clock.after(-duration.total_seconds())
        return cls.objects.filter(name=name, last_run_at__lt=latest).exists()


class Maintenance(models.Model):
    """Maintenance mode: one row; while ``started_at`` is set, no host starts a task."""

    ROW = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ROW)
    started_at = models.DateTimeField(_("recognition paused since"), null=True)
    notice = models.CharField(_("notice to members"), max_length=500, blank=True)

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    class Meta:
        verbose_name = _("maintenance mode")
        verbose_name_plural = _("maintenance mode")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="maintenance_one_row")]

    def __str__(self) -> str:
        return str(_("Maintenance mode"))

    @classmethod
    def current(cls) -> Self:
        """The single row, created if it does not exist."""
        return cls.objects.get_or_create(pk=cls.ROW)[0]

    @classmethod
    def is_on(cls) -> bool:
        return cls.objects.filter(started_at__isnull=False).exists()
