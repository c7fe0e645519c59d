"""``callback``: the result is posted to an address as CLOVA Speech does, unsigned, until it is accepted.

Sent by the guarded way out, at the times of the webhooks' schedule. For signed messages there are webhooks.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

from django.utils import timezone

from batches.clova import results
from batches.models import ClovaRequest, Task
from batches.webhooks import schedule
from speechportal import outbound, queue
from speechportal.outbound_errors import OutboundError
from speechportal.outbound_policy import policy

logger = logging.getLogger(__name__)

SEND_SECONDS = 10.0
LEASE = timedelta(minutes=2)  # Longer than an attempt takes: a sender that dies is followed by another.
GONE = 410
MOST = 200


def due() -> list[int]:
    """Requests whose task has ended and whose callback is to be (again) tried."""
    ended = ClovaRequest.unscoped.filter(callback_due_at__lte=timezone.now(), task__state__in=Task.FINAL)
    return list(ended.order_by("callback_due_at").values_list("pk", flat=True)[:MOST])


def wake() -> None:
    """Have everything that is due sent."""
    for request_id in due():
        queue.enqueue("batches.jobs.call_back", request_id)


def send(request_id: int) -> bool:
    """One attempt; whether it was accepted. Two senders at once make one attempt."""
    request = ClovaRequest.unscoped.select_related("task").filter(pk=request_id).first()
    if request is None or request.callback_due_at is None or not request.task.is_final:
        return False
    tries, lease = request.callback_tries + 1, timezone.now() + LEASE
    if not ClovaRequest.unscoped.filter(pk=request.pk, callback_due_at=request.callback_due_at).update(
        callback_tries=tries, callback_due_at=lease
    ):
        return False
    status, error = _post(request)
    accepted = status is not None and 200 <= status < 300
    now = timezone.now()
    wait = None if accepted or status == GONE else schedule.delay(tries)
    ClovaRequest.unscoped.filter(pk=request.pk, callback_due_at=lease).update(
        callback_due_at=now + wait if wait else None,
        callback_status=status,
        callback_error=error,
        called_back_at=now if accepted else None,
    )
    return accepted


def _post(request: ClovaRequest) -> tuple[int | None, str]:
    """The receiver's status and our error code, one of them empty."""
    body = json.dumps(results.document(request.task, request), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    try:
        answer = outbound.post(
            request.callback, body, headers, timeout=SEND_SECONDS, max_body=1000, policy=policy()
        )
    except OutboundError as error:
        logger.info("callback of %s: %s", request.task.uid, error.code)
        return None, error.code
    return answer.status, ""
