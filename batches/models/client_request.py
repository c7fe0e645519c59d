"""`ClientRequest`: requests to the APIs that are compatible with other services."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class ClientRequest(models.Model):
    """Request to a compatible API: the parameters of its response, and its callback URL.

    Its recognition settings are in ``Task.overrides``.
    """

    class Interface(models.TextChoices):
        CLOVA = "clova", "CLOVA Speech"
        OPENAI = "openai", "OpenAI"

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="client_request")
    interface = models.CharField(_("interface"), max_length=10, choices=Interface.choices)
    # CLOVA: completion, userdata, wordAlignment, fullText, format. OpenAI: response_format, granularities.
    answer = models.JSONField(default=dict)
    # Names of sent parameters that have no effect here.
    ignored = models.JSONField(_("ignored parameters"), default=list, blank=True)
    # Digest of sender, file and parameters: a repeated request returns the existing task.
    fingerprint = models.CharField(max_length=64, blank=True)
    callback = models.CharField(_("callback"), max_length=2000, blank=True)
    # When the callback was inserted into the outbox, which happens once; null: not yet, or no callback.
    callback_queued_at = models.DateTimeField(_("callback queued"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("client request")
        verbose_name_plural = _("client requests")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.CheckConstraint(
                condition=Q(callback_queued_at=None) | ~Q(callback=""), name="client_queued_has_callback"
            )
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(callback_queued_at__isnull=True) & ~Q(callback=""),
                name="client_callback_unqueued",
            ),
            models.Index(
                fields=["fingerprint"], condition=~Q(fingerprint=""), name="client_request_fingerprint"
            ),
        ]

    def __str__(self) -> str:
        return str(self.task)
