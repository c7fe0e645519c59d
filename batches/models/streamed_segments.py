"""`StreamedSegments`: final segments of a task that is still in progress, for streaming clients."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class StreamedSegments(models.Model):
    """Consecutive segments of a task in progress, as its client may read them.

    A worker writes at most one row per second, and only for streaming requests. The segments are redacted,
    with replacements and without forbidden words. Once the task has ended, its transcript is authoritative;
    the rows are deleted a day later.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="streamed_segments")
    position = models.PositiveIntegerField()  # index of the first segment in the transcript
    segments = models.JSONField()  # a list of objects with start and end in ms, speaker (a label) and text
    created_at = models.DateTimeField(_("created"), auto_now_add=True, db_index=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("streamed segments")
        verbose_name_plural = _("streamed segments")
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [models.UniqueConstraint(fields=["task", "position"], name="streamed_position_unique")]

    def __str__(self) -> str:
        return f"{self.task} ({self.position})"
