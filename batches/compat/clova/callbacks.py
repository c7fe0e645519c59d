"""`ClovaCallback`: the message kind for the parameter ``callback`` of CLOVA Speech.

The JSON result document is posted, unsigned, to the address that the request named. Webhooks are the signed
alternative.
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
    """Callback with a task's result, sent to the address in the request."""

    name = callbacks.KIND
    label = _("CLOVA callback")

    def body(self, delivery: Delivery, transcripts: Mapping[int, StoredTranscript]) -> bytes:
        if delivery.task is None:
            raise ValueError("a callback without a task")
        document = results.document(delivery.task, results.request_of(delivery.task))
        return json.dumps(document, ensure_ascii=False).encode()

    def headers(self, delivery: Delivery, body: bytes, now: datetime) -> dict[str, str]:
        return {"Content-Type": "application/json; charset=utf-8"}
