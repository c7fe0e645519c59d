"""`ClovaRequest`: requests of CLOVA Speech clients."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class ClovaRequest(models.Model):
    """Request to the CLOVA-compatible API: the form of its answer and its callback URL.

    Its recognition settings are in ``Task.overrides``.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="clova_request")
    answer = models.JSONField(default=dict)  # completion, userdata, wordAlignment, fullText, format
    callback = models.CharField(_("callback"), max_length=2000, blank=True)
    # When the callback was put into the outbox, which happens once; null: not yet, or no callback.
    callback_queued_at = models.DateTimeField(_("callback queued"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("CLOVA request")
        verbose_name_plural = _("CLOVA requests")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.CheckConstraint(
                condition=Q(callback_queued_at=None) | ~Q(callback=""), name="clova_queued_has_callback"
            )
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(callback_queued_at__isnull=True) & ~Q(callback=""),
                name="clova_callback_unqueued",
            )
        ]

    def __str__(self) -> str:
        return str(self.task)
