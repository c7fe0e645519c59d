"""``callback``: the result is posted to an address as CLOVA Speech does, unsigned, until it is accepted.

Sent by the guarded way out, at the times of the webhooks' schedule, many at once but few of one batch: a
receiver that hangs holds up its own batch's callbacks and nobody else's. For signed messages
there are webhooks.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from batches.compat.clova import results
from batches.models import ClovaRequest, Task
from batches.webhooks import retry_policy
from speechportal.outbound import client
from speechportal.outbound.client import Policy
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy
from speechportal.platform import queue
from speechportal.platform.models import NamedLease

logger = logging.getLogger(__name__)

JOB = "batches.operations.jobs.send_callbacks"
SEND_SECONDS = 10.0
LEASE = timedelta(minutes=2)  # Longer than an attempt takes: a sender that dies is followed by another.
GONE = 410
THREADS, OF_A_BATCH = 16, 2
RUN_SECONDS = 120.0
TICK_SECONDS = 0.5

Answer = tuple[int | None, str]  # the receiver's status and our error code, one of them empty
NOT_BUILT: Answer = (None, "not_built")


@dataclass(frozen=True)
class _Attempt:
    """A request that was claimed: nobody else sends it until ``lease``."""

    request: ClovaRequest
    batch_id: int
    tries: int
    lease: datetime


def due() -> QuerySet[ClovaRequest]:
    """Requests whose task has ended and whose callback is to be (again) tried."""
    return ClovaRequest.unscoped.filter(callback_due_at__lte=timezone.now(), task__state__in=Task.FINAL)


def ended(task_id: int) -> None:
    """In the transaction that ends a task: have its callback sent at once, if it has one."""
    if ClovaRequest.unscoped.filter(task=task_id, callback_due_at__isnull=False).exists():
        queue.enqueue(JOB)


def wake() -> None:
    """Have what is due sent, unless somebody is at it."""
    if due().exists():
        queue.enqueue(JOB)


def send_due(stopping: Callable[[], bool] = lambda: False, seconds: float = RUN_SECONDS) -> None:
    """Send until nothing is due; in one process at a time, so that slow receivers take one worker at most."""
    end = time.monotonic() + seconds
    lease = timedelta(seconds=seconds + 2 * SEND_SECONDS)
    # What becomes due while the one who holds it is leaving must not be left behind: hence again.
    while due().exists() and time.monotonic() < end and not stopping():
        holder = NamedLease.take("callbacks", lease)
        if holder is None:
            return
        try:
            _send_all(lambda: stopping() or time.monotonic() >= end)
        finally:
            NamedLease.give("callbacks", holder)


def _send_all(enough: Callable[[], bool]) -> None:
    """The database is this thread's; those of the pool post and wait for answers."""
    allowed, under_way = policy(), dict[Future[Answer], _Attempt]()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="callback") as pool:
        while True:
            for attempt in _claim_more(under_way) if not enough() else []:
                if (body := _body(attempt.request)) is None:
                    _record(attempt, NOT_BUILT)
                else:
                    under_way[pool.submit(_post, attempt.request.callback, body, allowed)] = attempt
            if not under_way:
                return
            done, _rest = wait(under_way, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                _record(under_way.pop(future), future.result())


def _claim_more(under_way: dict[Future[Answer], _Attempt]) -> list[_Attempt]:
    of_batches = Counter(attempt.batch_id for attempt in under_way.values())
    claimed: list[_Attempt] = []
    for request in _candidates():
        if len(under_way) + len(claimed) >= THREADS:
            break
        batch_id = request.task.batch_id
        if of_batches[batch_id] < OF_A_BATCH and (attempt := _claim(request)):
            claimed.append(attempt)
            of_batches[batch_id] += 1
    return claimed


def _candidates() -> Iterator[ClovaRequest]:
    """Those that are due, a few of each batch: one with thousands must not hide the others."""
    for batch_id in due().order_by().values_list("task__batch", flat=True).distinct():
        of_batch = due().filter(task__batch=batch_id).select_related("task")
        yield from of_batch.order_by("callback_due_at")[:OF_A_BATCH]


def _claim(request: ClovaRequest) -> _Attempt | None:
    tries, lease = request.callback_tries + 1, timezone.now() + LEASE
    claimed = ClovaRequest.unscoped.filter(pk=request.pk, callback_due_at=request.callback_due_at).update(
        callback_tries=tries, callback_due_at=lease
    )
    return _Attempt(request, request.task.batch_id, tries, lease) if claimed else None


def _record(attempt: _Attempt, answer: Answer) -> bool:
    status, error = answer
    accepted = status is not None and 200 <= status < 300
    now = timezone.now()
    delay = None if accepted or status == GONE else retry_policy.delay(attempt.tries)
    ClovaRequest.unscoped.filter(pk=attempt.request.pk, callback_due_at=attempt.lease).update(
        callback_due_at=now + delay if delay else None,
        callback_status=status,
        callback_error=error,
        called_back_at=now if accepted else None,
    )
    if error:
        logger.info("callback of %s: %s", attempt.request.task.uid, error)
    return accepted


def _body(request: ClovaRequest) -> bytes | None:
    try:
        return json.dumps(results.document(request.task, request), ensure_ascii=False).encode()
    except Exception:  # Whatever is wrong with one result, the others must go out.
        logger.exception("callback of %s cannot be built", request.task.uid)
        return None


def _post(url: str, body: bytes, allowed: Policy) -> Answer:
    """In a thread of the pool: no database here."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    try:
        answer = client.post(url, body, headers, timeout=SEND_SECONDS, max_body=1000, policy=allowed)
    except OutboundError as error:
        return None, error.code
    except Exception:  # Nothing that one receiver does may stop the others' callbacks.
        logger.exception("a callback failed")
        return None, "internal_error"
    return answer.status, ""
