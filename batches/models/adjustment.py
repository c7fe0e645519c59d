"""`Adjustment`: ledger rows that correct a charge."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from batches.models.ledger import Charge, ImmutableRow
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField


class AdjustmentQuerySet(models.QuerySet["Adjustment"]):
    def update(self, **_kwargs: Any) -> int:
        raise ImmutableRow("An adjustment cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise ImmutableRow("An adjustment cannot be deleted.")


class Adjustment(models.Model):
    """Ledger row that corrects a charge. Charges are immutable, and so are their corrections."""

    uid = UidField("adj")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="adjustments")
    charge = models.ForeignKey(Charge, on_delete=models.PROTECT, related_name="adjustments")
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=4)  # negative: a refund
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.TextField(_("reason"))
    created_at = models.DateTimeField(_("corrected"), auto_now_add=True)

    unscoped = models.Manager.from_queryset(AdjustmentQuerySet)()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("correction of a charge")
        verbose_name_plural = _("corrections of charges")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount=0), name="adjustment_not_zero"),
            models.CheckConstraint(condition=~models.Q(reason=""), name="adjustment_has_reason"),
        ]
        indexes = [models.Index(fields=["account", "created_at"], name="adjustment_of_account")]

    def __str__(self) -> str:
        return f"{self.uid} {self.amount} {self.currency}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ImmutableRow("An adjustment cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise ImmutableRow("An adjustment cannot be deleted.")
