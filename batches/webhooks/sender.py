"""Sends what is due, many messages at once.

The database is one thread's: it claims, signs, and records what came of it, a handful at a time. The network
is the pool's: each of its threads sends one message and waits for one answer, ten seconds at most.

A receiver that answers well is sent more messages at once, up to ``WIDEST``; one that fails is sent one. All
that fail share half of the threads, so that the others never wait for them: one slow receiver slows nobody.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue

from django.conf import settings
from django.utils import timezone

from batches.models import Delivery, Transcript, Webhook
from batches.webhooks import delivery_lifecycle, endpoint, payload, retry_policy, signing
from batches.webhooks.delivery_lifecycle import Outcome
from speechportal.outbound import client
from speechportal.outbound.client import Policy
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy

logger = logging.getLogger(__name__)

FIRST_WIDTH, WIDEST = 2, 8  # messages at once to one receiver
ANSWER_BYTES = 1000
TICK_SECONDS = 0.25
# A sender that has nothing to do stays for what is due so soon: the first retry is after five seconds.
LINGER = timedelta(seconds=6)


@dataclass(frozen=True)
class Message:
    """An attempt, ready to go."""

    delivery_id: int
    attempt: int
    batch_id: int
    url: str
    body: bytes
    headers: dict[str, str]
    started_at: datetime


class Sender:
    """One sender; ``clock`` tells the time by which rows are due, ``stopping`` whether to come to an end."""

    def __init__(
        self,
        *,
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = timezone.now,
        linger: timedelta = LINGER,
    ) -> None:
        self.token = uuid.uuid4()
        self._stopping = stopping
        self._clock = clock
        self._linger = linger
        self._threads: int = settings.WEBHOOK_THREADS
        self._policy = policy()
        self._answers: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self._under_way: Counter[int] = Counter()  # by batch
        self._widths: dict[int, int] = {}
        self._turns: dict[int, int] = {}  # when each was last served: who waited longest goes first
        self._turn = 0

    def run(self, seconds: float) -> None:
        """Send until nothing is due any more, or ``seconds`` have passed and what is under way has ended."""
        end = time.monotonic() + seconds
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="webhook")
        try:
            while True:
                going_on = not self._stopping() and time.monotonic() < end
                started = self._start(pool) if going_on else 0
                if not self._under_way.total():
                    if not going_on or not self._is_due_soon():
                        return
                    if not started:
                        time.sleep(TICK_SECONDS)
                self._collect()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor) -> int:
        """Claim and send as much as there is room for; returns how many messages."""
        started = 0
        if self._under_way.total() >= self._threads:
            return started
        now = self._clock()
        for webhook in sorted(delivery_lifecycle.ready_webhooks(now), key=self._place_of):
            room = self._room_for(webhook)
            if room <= 0:
                continue
            deliveries = delivery_lifecycle.claim(webhook, room, self.token, now)
            started += len(deliveries)
            self._turn += 1
            self._turns[webhook.batch_id] = self._turn
            self._under_way[webhook.batch_id] += len(deliveries)
            checkpoints = payload.checkpoints_of(deliveries)
            for delivery in deliveries:
                if message := self._prepare(webhook, delivery, checkpoints):
                    pool.submit(self._send, message)
        return started

    def _place_of(self, webhook: Webhook) -> tuple[int, int]:
        return self._under_way[webhook.batch_id], self._turns.get(webhook.batch_id, 0)

    def _room_for(self, webhook: Webhook) -> int:
        batch_id = webhook.batch_id
        first = FIRST_WIDTH if webhook.failing_since is None else 1
        width = self._widths.setdefault(batch_id, first)
        # ``sending`` counts the claims of all senders, ours among them.
        sending: int = getattr(webhook, "sending", 0)
        room = min(width - self._under_way[batch_id], WIDEST - sending)
        room = min(room, self._threads - self._under_way.total())
        if width == 1:
            narrow = sum(n for other, n in self._under_way.items() if self._widths.get(other) == 1)
            room = min(room, self._threads // 2 - narrow)
        return room

    def _prepare(
        self, webhook: Webhook, delivery: Delivery, checkpoints: dict[int, Transcript]
    ) -> Message | None:
        """Build and sign the message. What is wrong on our side is recorded like a failed attempt."""
        now = self._clock()
        batch = webhook.batch
        try:
            body = payload.body_of(delivery, checkpoints)
            secrets = endpoint.signing_secrets(webhook, now)
            headers = signing.headers(secrets, delivery.uid, int(now.timestamp()), body)
        except Exception:  # Whatever is wrong with one message, the others must go out.
            logger.exception("delivery %s cannot be built", delivery.uid)
            outcome = Outcome(
                delivery.pk,
                delivery.attempts,
                batch.webhook_url,
                now,
                0,
                error_code="not_built",
                error="The message could not be built; the operator's log has the details.",
                by_receiver=False,
            )
            self._answers.put((webhook.batch_id, outcome))
            return None
        headers["Content-Type"] = "application/json"
        return Message(
            delivery.pk, delivery.attempts, webhook.batch_id, batch.webhook_url, body, headers, now
        )

    def _send(self, message: Message) -> None:
        """In a thread of the pool: no database here."""
        begun = time.monotonic()
        try:
            outcome = attempt(message, self._policy, settings.WEBHOOK_TIMEOUT_SECONDS)
        except Exception:
            logger.exception("delivery %s: sending failed", message.headers["webhook-id"])
            outcome = Outcome(
                message.delivery_id,
                message.attempt,
                message.url,
                message.started_at,
                round((time.monotonic() - begun) * 1000),
                error_code="internal_error",
                error="Unexpected error; the operator's log has the details.",
                by_receiver=False,
            )
        self._answers.put((message.batch_id, outcome))

    def _collect(self) -> None:
        """Wait a moment for answers and record all that have come."""
        outcomes: list[Outcome] = []
        try:
            timeout = TICK_SECONDS if self._under_way.total() else 0.0
            answer = self._answers.get(timeout=timeout) if timeout else self._answers.get_nowait()
            while True:
                batch_id, outcome = answer
                outcomes.append(outcome)
                self._under_way[batch_id] -= 1
                self._adapt(batch_id, outcome)
                answer = self._answers.get_nowait()
        except Empty:
            pass
        if outcomes:
            delivery_lifecycle.record(outcomes, self.token, self._clock())

    def _adapt(self, batch_id: int, outcome: Outcome) -> None:
        if outcome.accepted:
            self._widths[batch_id] = min(self._widths[batch_id] + 1, WIDEST)
        elif outcome.by_receiver:
            self._widths[batch_id] = 1

    def _is_due_soon(self) -> bool:
        return delivery_lifecycle.ready_webhooks(self._clock() + self._linger).exists()


def attempt(message: Message, allowed: Policy, timeout: float) -> Outcome:
    """Send one message and wait for its answer."""
    begun = time.monotonic()

    def outcome(status: int | None = None, **details: object) -> Outcome:
        return Outcome(
            message.delivery_id,
            message.attempt,
            message.url,
            message.started_at,
            round((time.monotonic() - begun) * 1000),
            status,
            **details,  # type: ignore[arg-type] # the fields that are named below
        )

    try:
        answer = client.post(
            message.url,
            message.body,
            message.headers,
            timeout=timeout,
            max_body=ANSWER_BYTES,
            policy=allowed,
        )
    except OutboundError as error:
        return outcome(error_code=error.code, error=error.message)
    asked = answer.headers.get("retry-after", "")
    return outcome(
        answer.status,
        error=_refusal(answer.status),
        error_code="" if 200 <= answer.status < 300 else "refused",
        answer=answer.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
        retry_after=retry_policy.retry_after(asked, timezone.now()) if asked else None,
    )


def _refusal(status: int) -> str:
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"The receiver answered {status}: redirects are not followed."
    return f"The receiver answered {status}."
