"""`TaskTrace`: the trace of a task, if traces are exported (OpenTelemetry)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from django.db import models

from batches.models.task import Task
from speechportal.accounts.scoping import ScopedManager
from speechportal.platform import tracing


class TaskTrace(models.Model):
    """Trace context that a task carries from its registration to its webhook, between processes and hosts."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, primary_key=True, related_name="trace")
    trace_parent = models.CharField(max_length=55)  # W3C Trace Context: version-trace-span-flags

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager("task__account")

    class Meta:
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"

    def __str__(self) -> str:
        return self.trace_parent

    @classmethod
    def begin(cls, tasks: Iterable[Task], source: str) -> None:
        """Begin a trace for each of these new tasks, if traces are exported."""
        if not tracing.enabled():
            return
        begun = (
            (task, tracing.start_trace("register", task=task.uid, bytes=task.input_size, source=source))
            for task in tasks
        )
        TaskTrace.unscoped.bulk_create(
            (TaskTrace(task=task, trace_parent=parent) for task, parent in begun), ignore_conflicts=True
        )

    @classmethod
    def parent_of(cls, task_id: int | None) -> str:
        """Trace context of a task; "" without one."""
        if task_id is None or not tracing.enabled():
            return ""
        return cls.unscoped.filter(task=task_id).values_list("trace_parent", flat=True).first() or ""
