"""`ServedModel`: the latest report of a recognition cluster about one of its models."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ServedModel(models.Model):
    """Heartbeat of one model on one host. The recognition cluster renews ``seen_at`` while it runs.

    ``problem`` is the reason why the model cannot be used there; tasks that need it then go to other hosts.
    """

    class Kind(models.TextChoices):
        WHISPER = "whisper", _("Whisper model")
        SPEAKERS = "speakers", _("speaker model")

    host = models.CharField(_("host"), max_length=255)
    name = models.CharField(_("model"), max_length=200)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    problem = models.TextField(_("problem"), blank=True)
    fault = models.CharField(max_length=40, blank=True)  # failure code of a fault of the host itself
    problem_at = models.DateTimeField(null=True)
    loaded_at = models.DateTimeField(_("loaded"), null=True)
    seen_at = models.DateTimeField(_("last report"), default=timezone.now)

    objects: ClassVar[models.Manager[Self]] = models.Manager()

    class Meta:
        verbose_name = _("served model")
        verbose_name_plural = _("served models")
        ordering = ["kind", "name", "host"]
        constraints = [models.UniqueConstraint(fields=["host", "kind", "name"], name="served_model_unique")]

    def __str__(self) -> str:
        return f"{self.name} · {self.host}"
