"""`TaskAttempt`: an unsuccessful attempt at a task, with its cause."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager


class TaskAttempt(models.Model):
    """Unsuccessful attempt at a task: time, host, outcome and cause.

    The task's own row has only the present state, and a retry clears it. Only
    :mod:`batches.tasks.attempts` writes these rows, in the transaction that ends the attempt.
    """

    class Outcome(models.TextChoices):
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")
        RELEASED = "released", _("Put back into the queue")
        STOPPED = "stopped", _("The worker was shut down")
        LOST = "lost", _("The worker stopped responding")

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="attempt_history")
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices)
    error_code = models.CharField(_("error code"), max_length=50, blank=True)
    error_message = models.TextField(_("cause"), blank=True)
    error_details = models.JSONField(default=dict, blank=True)
    worker = models.CharField(_("worker"), max_length=100, blank=True)
    started_at = models.DateTimeField(_("started"))
    ended_at = models.DateTimeField(_("ended"))

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        verbose_name = _("attempt at a task")
        verbose_name_plural = _("attempts at tasks")
        ordering = ["pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        indexes = [models.Index(fields=["ended_at"], name="task_attempt_by_end")]

    def __str__(self) -> str:
        return f"{self.task_id}: {self.outcome}"
