"""Callbacks: inserts the callback that a request named into the outbox once its task has ended.

The message's body is built by the kind ``clova.callback`` (:mod:`batches.compat.clova.callbacks`).
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from batches.models import ClientRequest, Delivery, Task
from speechportal.platform import queue

KIND = "clova.callback"
AT_ONCE = 500


def queue_for(task_id: int) -> None:
    """Queue the callback of a task that has just ended, if it has one; in the transaction that ends it."""
    for request in _unqueued().filter(task=task_id):
        _queue(request)


def queue_missed() -> int:
    """Queue callbacks of ended tasks that have none yet: cancelled tasks, and requests for ended tasks.

    Returns how many; a periodic job calls it.
    """
    found = list(_unqueued().filter(task__state__in=Task.FINAL).order_by("pk")[:AT_ONCE])
    for request in found:
        with transaction.atomic():
            _queue(request)
    return len(found)


def _unqueued() -> QuerySet[ClientRequest]:
    waiting = ClientRequest.unscoped.filter(callback_queued_at=None).exclude(callback="")
    return waiting.select_related("task")


def _queue(request: ClientRequest) -> None:
    """Queue one delivery for a request; a concurrent caller may have been first."""
    now = timezone.now()
    if not ClientRequest.unscoped.filter(pk=request.pk, callback_queued_at=None).update(
        callback_queued_at=now
    ):
        return
    Delivery.unscoped.create(
        account_id=request.task.account_id,
        batch_id=request.task.batch_id,
        task=request.task,
        kind=KIND,
        address=request.callback,
        about=request.task.uid,
        next_attempt_at=now,
        created_at=now,
    )
    queue.wake_deliveries()
