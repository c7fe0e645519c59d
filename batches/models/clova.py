"""What programs written for CLOVA Speech have asked for."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class ClovaRequest(models.Model):
    """A request to the CLOVA-compatible entry: how its answer is to look, and where it is to be sent.

    What it says about recognition is in ``Task.overrides``.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="clova_request")
    answer = models.JSONField(default=dict)  # completion, userdata, wordAlignment, fullText, format
    callback = models.CharField(_("callback"), max_length=2000, blank=True)
    callback_tries = models.PositiveSmallIntegerField(default=0)
    # When the callback is (again) to be tried; null: none, or it is over.
    callback_due_at = models.DateTimeField(null=True)
    callback_status = models.PositiveSmallIntegerField(_("last answer"), null=True)
    callback_error = models.CharField(max_length=50, blank=True)
    called_back_at = models.DateTimeField(_("called back"), null=True)
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
                condition=Q(callback_due_at=None) | ~Q(callback=""), name="clova_due_has_callback"
            )
        ]
        indexes = [
            models.Index(
                fields=["callback_due_at"],
                condition=Q(callback_due_at__isnull=False),
                name="clova_callback_due",
            )
        ]

    def __str__(self) -> str:
        return str(self.task)
