"""`ExecutionResult` and `Charge`: CSV reports of finished tasks, and the ledger."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from batches.models.batch import Batch
from batches.models.task import Task
from domains import offered_models
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.storage.models import Connection


class ExecutionResult(models.Model):
    """CSV file that reports ten finished tasks, or fewer once the batch has been idle.

    The row is created in the transaction that finishes the tenth task. The file is written afterwards, and
    again if that was interrupted; its key is reserved before the first attempt.
    """

    uid = UidField("exr")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="execution_results")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="execution_results")
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, related_name="+")
    number = models.PositiveIntegerField(_("number"))
    task_count = models.PositiveSmallIntegerField(_("tasks"))
    key = models.CharField(_("file"), max_length=1100, blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    due_at = models.DateTimeField(_("next attempt"), null=True)  # time of the next attempt to write the file
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    written_at = models.DateTimeField(_("written"), null=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("execution result")
        verbose_name_plural = _("execution results")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["batch", "number"], name="execution_result_number_unique"),
            models.UniqueConstraint(
                fields=["connection", "key"],
                condition=~models.Q(key=""),
                name="execution_result_key_unique",
            ),
            models.CheckConstraint(
                condition=models.Q(task_count__gte=1, task_count__lte=10),
                name="execution_result_of_ten_at_most",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(written_at__isnull=True),
                name="execution_result_unwritten",
            )
        ]

    def __str__(self) -> str:
        return self.key.rpartition("/")[2] or self.uid


class ImmutableRow(RuntimeError):
    """Raised when a ledger row would be changed or deleted; a correction is a new row."""


class ChargeQuerySet(models.QuerySet["Charge"]):
    def update(self, **_kwargs: Any) -> int:
        raise ImmutableRow("A charge cannot be changed.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise ImmutableRow("A charge cannot be deleted.")


class Charge(models.Model):
    """Ledger row for one recognised input file. Immutable."""

    uid = UidField("chg")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False, related_name="charges")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, db_index=False, related_name="charges")
    task = models.OneToOneField(Task, on_delete=models.PROTECT, related_name="charge")
    # Copies of the names at the time of the charge; later renames do not change them.
    batch_name = models.CharField(_("batch name"), max_length=100)
    domain_code = models.CharField(_("domain code"), max_length=50, blank=True)
    whisper_model = models.CharField(_("Whisper model"), max_length=offered_models.NAME_LENGTH, blank=True)
    speaker_model = models.CharField(_("speaker model"), max_length=offered_models.NAME_LENGTH, blank=True)
    input_name = models.CharField(_("input file name"), max_length=1024)
    media_duration = models.PositiveBigIntegerField(_("media duration"))  # ms
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=4)
    currency = models.CharField(_("currency"), max_length=3)
    created_at = models.DateTimeField(_("charged"), auto_now_add=True)

    unscoped = models.Manager.from_queryset(ChargeQuerySet)()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("charge")
        verbose_name_plural = _("charges")
        ordering = ["-pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [
            models.Index(fields=["account", "created_at"], name="charge_of_account"),
            models.Index(fields=["account", "-id"], name="charge_newest_of_account"),
            models.Index(fields=["batch", "-id"], name="charge_newest_of_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.uid} {self.amount} {self.currency}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise ImmutableRow("A charge cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise ImmutableRow("A charge cannot be deleted.")
