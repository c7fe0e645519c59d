"""`RecognitionHost`: the latest report of a recognition cluster about its machine."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class RecognitionHost(models.Model):
    """Heartbeat of a host with its devices and recent restarts, and whether it is drained.

    The recognition cluster renews ``seen_at`` while it runs. A drained host finishes its tasks and claims no
    others, even after a restart, until it is resumed.
    """

    name = models.CharField(_("host"), max_length=255, unique=True)
    version = models.CharField(_("version"), max_length=40, blank=True)
    workers = models.PositiveIntegerField(_("workers"), default=0)
    # [{"device": "cuda:0", "name": "NVIDIA H100", "memory": bytes, "used": bytes, "load": per cent}]
    devices: models.JSONField[Any, Any] = models.JSONField(_("devices"), default=list)
    # The latest, oldest first: [{"at": ISO 8601, "what": "cluster" or a device, "why": reason}]
    restarts: models.JSONField[Any, Any] = models.JSONField(_("restarts"), default=list)
    started_at = models.DateTimeField(_("started"), null=True)
    seen_at = models.DateTimeField(_("last report"), default=timezone.now)
    drained_at = models.DateTimeField(_("drained since"), null=True)

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    class Meta:
        verbose_name = _("recognition host")
        verbose_name_plural = _("recognition hosts")
        ordering = ["name"]
        permissions = [("operate_fleet", "Can drain hosts and pause recognition everywhere")]

    def __str__(self) -> str:
        return self.name
