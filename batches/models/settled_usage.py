"""`SettledUsage`, `UsageMark`: sums of an account's charges by quarter of an hour, and until when they go.

A month of a large account has a million charges, which its budget, its usage and Home would otherwise add up
again and again. :mod:`batches.billing.settled` writes and reads these rows.
"""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager


class UsageMark(models.Model):
    """The time until which an account's charges are summed.

    A trigger (:mod:`batches.models.limits`) deletes it when a charge from before that time is inserted or
    deleted; then all of the account's charges are summed again.
    """

    account = models.OneToOneField(
        Account, on_delete=models.CASCADE, primary_key=True, related_name="usage_mark"
    )
    until = models.DateTimeField()

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return f"{self.account_id}: {self.until}"


class SettledUsage(models.Model):
    """Sum of the charges of a quarter of an hour, by what their lists are grouped by.

    Quarters, because every time zone begins its days at one. The columns are named as a charge's, so that one
    expression groups both.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, db_index=False, related_name="+")
    created_at = models.DateTimeField()  # beginning of the quarter
    batch_uid = models.CharField(max_length=24)
    batch_name = models.CharField(max_length=100)
    domain_code = models.CharField(max_length=50, blank=True)
    currency = models.CharField(max_length=3)
    files = models.PositiveIntegerField(_("files"))
    media_duration = models.PositiveBigIntegerField(_("media duration"))  # ms
    amount = models.DecimalField(_("amount"), max_digits=16, decimal_places=4)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [models.Index(fields=["account", "created_at"], name="settled_usage_of_account")]

    def __str__(self) -> str:
        return f"{self.account_id} {self.created_at}: {self.amount} {self.currency}"
