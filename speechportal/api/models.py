"""`IdempotencyRecord`: stored responses of the API."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import ApiToken
from speechportal.accounts.scoping import ScopedManager


class IdempotencyRecord(models.Model):
    """Response to a request with an ``Idempotency-Key``, returned when the request is repeated.

    The row is created in the transaction of the request's effect: both exist or neither does. Of two
    concurrent requests the second waits for the first and then returns its response.
    """

    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="idempotency_records")
    key = models.CharField(_("key"), max_length=255)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of method, address and body, in hex
    status = models.PositiveSmallIntegerField(_("status"), default=0)  # 0 only within the transaction
    content = models.TextField(blank=True)  # headers and body, encrypted: may contain a new token
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("token__account")

    class Meta:
        verbose_name = _("kept answer")
        verbose_name_plural = _("kept answers")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["token", "key"], name="kept_answer_unique")]
        indexes = [models.Index(fields=["token", "created_at"], name="kept_answer_age")]

    def __str__(self) -> str:
        return self.key
