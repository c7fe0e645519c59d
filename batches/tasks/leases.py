"""`Lease`: a worker's claim on a task, and the exceptions that end it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import QuerySet

from batches.models import Task


class LeaseLost(Exception):
    """Raised when the lease was lost: another worker has the task, or it was deleted. Stop without effect."""


class CancelRequested(Exception):
    """Raised when a member cancelled the task: stop, then call :func:`.lifecycle.confirm_cancel`."""


@dataclass(frozen=True)
class Lease:
    """Lease: a worker's claim on a task until it expires. Its fencing token invalidates earlier claims."""

    task_id: int
    token: uuid.UUID

    @property
    def row(self) -> QuerySet[Task]:
        return Task.unscoped.filter(pk=self.task_id, lease_token=self.token)
