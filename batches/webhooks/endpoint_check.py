"""Endpoint check: sends one test message to a URL at once, without storing anything."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from batches.models import Batch
from batches.webhooks import endpoint, payload, signing
from batches.webhooks.events import WebhookTest
from speechportal.accounts.models import Account
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy

ANSWER_BYTES = 300
MESSAGE = "This is a test: a member of the account tries the address of a webhook."


@dataclass(frozen=True)
class Trial:
    """Result of a check. ``problem`` is a sentence for people, empty if the receiver accepted the message."""

    url: str
    problem: str
    signed: bool
    status: int | None = None
    milliseconds: int = 0
    answer: str = ""


def send(*, account: Account, url: str, batch: Batch | None = None) -> Trial:
    """Send a ``test`` message to ``url``, signed with ``batch``'s secret. Do not call it in a transaction.

    A batch that does not exist yet has no secret, so its receiver cannot verify the signature.
    """
    now = timezone.now()
    data = {"account": {"id": account.uid}, "message": MESSAGE}
    if batch is not None:
        data = {**payload.of_batch(batch), "message": MESSAGE}
    body = payload.envelope(WebhookTest.type, now, data).encode()
    secrets = endpoint.signing_secrets(endpoint.for_batch(batch), now) if batch and batch.webhook_url else []
    headers = {"webhook-id": f"dlv_{uuid.uuid4().hex}", "webhook-timestamp": str(int(now.timestamp()))}
    if secrets:
        headers = signing.headers(secrets, headers["webhook-id"], int(now.timestamp()), body)
    headers["Content-Type"] = "application/json"
    begun = time.monotonic()
    try:
        answer = client.post(
            url,
            body,
            headers,
            timeout=settings.WEBHOOK_TIMEOUT_SECONDS,
            max_body=ANSWER_BYTES,
            policy=policy(),
        )
    except OutboundError as error:
        return Trial(url, error.message, bool(secrets))
    took = round((time.monotonic() - begun) * 1000)
    problem = "" if 200 <= answer.status < 300 else _("The receiver answered %d.") % answer.status
    text = answer.body.decode("utf-8", "replace").strip()
    return Trial(url, problem, bool(secrets), answer.status, took, text)
