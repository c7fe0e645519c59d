"""`ConnectionBackoff`: connections whose latest use failed, with the time of the next attempt."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.scoping import ScopedManager
from speechportal.storage.models import Connection


class ConnectionBackoff(models.Model):
    """Back-off of a connection: until ``retry_at`` no batch on it is polled, and no task started or moved.

    The first use that succeeds deletes the row. After ``retry_at`` one task or poll at a time tries the
    connection and postpones ``retry_at`` for the others.
    Only :mod:`batches.status.connection_backoff` changes it.
    """

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="backoff")
    failures = models.PositiveIntegerField(_("failures in a row"), default=1)  # consecutive
    code = models.CharField(_("error code"), max_length=50)
    since = models.DateTimeField(_("failing since"), default=timezone.now)
    seen_at = models.DateTimeField(_("last failure"), default=timezone.now)
    retry_at = models.DateTimeField(_("next attempt"))

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("connection__account")

    class Meta:
        verbose_name = "connection back-off"
        verbose_name_plural = "connection back-offs"
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return f"{self.connection}: {self.code}"
