"""History of a task's attempts that did not complete it, for people to see after a retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from batches.models import Task, TaskAttempt

KEPT = 20  # attempts of a task; a storage that is down for days makes many


def record(task: Task, outcome: str, error: Mapping[str, Any] | None = None) -> None:
    """Record how an attempt ended, in the caller's transaction, and drop the task's oldest beyond ``KEPT``.

    ``task`` is the row as the attempt had it; ``error`` has the ``error_*`` columns that it ends with.
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
