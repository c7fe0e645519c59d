"""History of a task's unsuccessful attempts, which a page shows even after a retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from batches.models import Task, TaskAttempt

KEPT = 20  # attempts per task; a storage that is down for days causes many


def record(task: Task, outcome: str, error: Mapping[str, Any] | None = None) -> None:
    """Record how an attempt ended, in the caller's transaction, and drop the task's oldest beyond ``KEPT``.

    ``task`` is the row during the attempt; ``error`` has its final values of the ``error_*`` columns.
    """
    now = timezone.now()
    columns = {name: value for name, value in (error or {}).items() if name.startswith("error_")}
    TaskAttempt.unscoped.create(
        task=task,
        outcome=outcome,
        worker=task.worker,
        started_at=task.started_at or now,
        ended_at=now,
        **columns,
    )
    rows = TaskAttempt.unscoped.filter(task=task)
    if beyond := list(rows.order_by("-pk").values_list("pk", flat=True)[KEPT:]):
        rows.filter(pk__in=beyond).delete()
