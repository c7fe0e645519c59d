"""The words in which workers and the lifecycle talk about a task that is being worked on."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from batches.models import Task


class LeaseLost(Exception):
    """The lease ran out and the task went to somebody else, or it is gone: leave without effect."""


class CancelRequested(Exception):
    """The task is to be canceled: stop, then call :func:`batches.tasks.lifecycle.confirm_cancel`."""


@dataclass(frozen=True)
class Lease:
    """The right to work on a task, as long as the lease lives."""

    task_id: int
    token: uuid.UUID

    @property
    def row(self) -> QuerySet[Task]:
        return Task.unscoped.filter(pk=self.task_id, lease_token=self.token)


@dataclass(frozen=True)
class Cause:
    """Why a task failed or has to wait, for people: a stable code, a sentence, and its variables."""

    code: str
    message: str
    details: dict[str, Any]
