"""`Lease`: a worker's claim on a task, and the two ways in which a worker loses it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import QuerySet

from batches.models import Task


class LeaseLost(Exception):
    """The lease expired and the task went to another worker, or it is gone: leave without effect."""


class CancelRequested(Exception):
    """The task is to be cancelled: stop, then call :func:`batches.tasks.lifecycle.confirm_cancel`."""


@dataclass(frozen=True)
class Lease:
    """A worker's claim on a task, until it expires. Its token fences off whoever had the task before."""

    task_id: int
    token: uuid.UUID

    @property
    def row(self) -> QuerySet[Task]:
        return Task.unscoped.filter(pk=self.task_id, lease_token=self.token)
