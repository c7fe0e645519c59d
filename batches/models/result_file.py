"""`ResultFile`: a file that a task writes to the result path."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager
from speechportal.storage.models import Connection


class ResultFile(models.Model):
    """Result file of a task in one format. Its key is reserved first, then the file is written."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="result_files")
    format = models.CharField(_("file format"), max_length=10)
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, related_name="+")
    key = models.CharField(_("result file"), max_length=1100)
    size = models.BigIntegerField(_("size"), null=True)
    version = models.CharField(max_length=200, blank=True)  # as the storage reported it after writing
    written_at = models.DateTimeField(_("written"), null=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("result file")
        verbose_name_plural = _("result files")
        ordering = ["pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(fields=["task", "format"], name="result_file_format_unique"),
            models.UniqueConstraint(fields=["connection", "key"], name="result_file_key_unique"),
            models.CheckConstraint(
                condition=Q(written_at__isnull=True) | Q(size__isnull=False),
                name="result_file_written_has_size",
            ),
        ]

    def __str__(self) -> str:
        return self.key
