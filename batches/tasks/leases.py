"""`Lease`: a worker's claim on a task, and the exceptions that end it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import QuerySet

from batches.models import Task


class LeaseLost(Exception):
    """The lease expired and another worker has the task, or the task is gone: stop without any effect."""


class CancelRequested(Exception):
    """A member cancelled the task: stop, then call :func:`batches.tasks.lifecycle.confirm_cancel`."""


@dataclass(frozen=True)
class Lease:
    """A worker's claim on a task until it expires. Its fencing token shuts out earlier claimants."""

    task_id: int
    token: uuid.UUID

    @property
    def row(self) -> QuerySet[Task]:
        return Task.unscoped.filter(pk=self.task_id, lease_token=self.token)
