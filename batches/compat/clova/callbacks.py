"""``callback``: the message kind that posts a result to an address of the request, as CLOVA Speech does.

Unsigned, in the shape of the result's answer. For signed messages there are webhooks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from batches.compat.clova import results
from batches.models import Delivery, StoredTranscript
from batches.webhooks import callbacks
from batches.webhooks.kinds import MessageKind


class ClovaCallback(MessageKind):
    """A task's result, for the address that the request gave."""

    name = callbacks.KIND
    label = _("CLOVA callback")

    def body(self, delivery: Delivery, transcripts: Mapping[int, StoredTranscript]) -> bytes:
        if delivery.task is None:
            raise ValueError("a callback without a task")
        document = results.document(delivery.task, results.request_of(delivery.task))
        return json.dumps(document, ensure_ascii=False).encode()

    def headers(self, delivery: Delivery, body: bytes, now: datetime) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=utf-8"}
