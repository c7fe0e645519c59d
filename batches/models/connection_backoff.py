"""Storages that do not answer as they should, and when to ask them again."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone

from speechportal.accounts.scoping import ScopedManager
from speechportal.storage.models import Connection


class ConnectionBackoff(models.Model):
    """A connection whose latest use failed: until ``retry_at`` nothing of it is polled, started or moved.

    The row goes with the first use that succeeds. One task or poll at a time tries: whoever is let through
    puts ``retry_at`` off for the others. Only :mod:`batches.status.connection_backoff` changes it.
    """

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="backoff")
    failures = models.PositiveIntegerField(default=1)  # in a row
    code = models.CharField(max_length=50)
    since = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)  # the latest
    retry_at = models.DateTimeField()

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("connection__account")

    class Meta:
        verbose_name = "connection back-off"
        verbose_name_plural = "connection back-offs"
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return f"{self.connection}: {self.code}"
