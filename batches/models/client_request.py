"""Client requests: what programs asked for that were written for another service's API."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class ClientRequest(models.Model):
    """A request to a compatible interface: how its answer is to look, and where it is to be sent.

    Its recognition settings are in ``Task.overrides``.
    """

    class Interface(models.TextChoices):
        CLOVA = "clova", "CLOVA Speech"
        OPENAI = "openai", "OpenAI"

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="client_request")
    interface = models.CharField(_("interface"), max_length=10, choices=Interface.choices)
    # CLOVA: completion, userdata, wordAlignment, fullText, format. OpenAI: response_format, granularities.
    answer = models.JSONField(default=dict)
    # Parameters that were sent and change nothing here.
    ignored = models.JSONField(_("ignored parameters"), default=list, blank=True)
    # Of sender, file and parameters: a request that is sent again joins its task instead of making another.
    fingerprint = models.CharField(max_length=64, blank=True)
    callback = models.CharField(_("callback"), max_length=2000, blank=True)
    # When the callback was put into the outbox, which happens once; null: not yet, or no callback.
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
