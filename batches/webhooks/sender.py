"""Sender: posts due deliveries of all kinds, many at once.

One thread uses the database: it claims deliveries, builds and signs messages, and records outcomes, a few
at a time. The threads of a pool use the network: each posts one message and waits for the response, for at
most ``WEBHOOK_TIMEOUT_SECONDS``.

Messages of one kind of one batch form a channel. A channel starts with ``FIRST_WIDTH`` messages at once;
each accepted message allows one more, up to ``WIDEST``; a failure sets it back to one. All channels that
fail share half of the threads, so that a slow receiver delays no other.
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

from batches.models import Delivery, StoredTranscript, TaskTrace
from batches.webhooks import delivery_lifecycle, kinds, retry_policy
from batches.webhooks.delivery_lifecycle import Channel, Outcome
from speechportal.outbound import client
from speechportal.outbound.errors import OutboundError
from speechportal.outbound.policy import policy
from speechportal.outbound.transport import Policy
from speechportal.platform import tracing

logger = logging.getLogger(__name__)

FIRST_WIDTH, WIDEST = 2, 8  # messages at once to one receiver
ANSWER_BYTES = 1000
TICK_SECONDS = 0.25
# An idle sender waits for deliveries that become due within this time; the first retry is after five seconds.
LINGER = timedelta(seconds=6)


Key = tuple[str, int]  # of a channel: kind and batch


@dataclass(frozen=True)
class Message:
    """Message that is ready to be sent: one attempt at a delivery."""

    delivery_id: int
    uid: str
    attempt: int
    channel: Key
    url: str
    body: bytes
    headers: dict[str, str]
    started_at: datetime
    trace_parent: str = ""  # trace context of its task


class Sender:
    """Sender of deliveries. ``clock`` returns the current time, ``stopping`` whether to stop."""

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
        self._answers: SimpleQueue[tuple[Key, Outcome]] = SimpleQueue()
        self._under_way: Counter[Key] = Counter()
        self._widths: dict[Key, int] = {}
        self._turns: dict[Key, int] = {}  # when each was last served; the longest wait goes first
        self._turn = 0

    def run(self, seconds: float) -> None:
        """Send until nothing is due, or ``seconds`` have passed; then wait for the requests in flight."""
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
        """Claim and start as many messages as there are free threads; returns how many."""
        started = 0
        if self._under_way.total() >= self._threads:
            return started
        now = self._clock()
        for channel in sorted(delivery_lifecycle.ready_channels(now), key=self._place_of):
            limit = self._limit_of(channel)
            if limit <= 0:
                continue
            deliveries = delivery_lifecycle.claim(channel, limit, self.token, now)
            started += len(deliveries)
            self._turn += 1
            self._turns[channel.key] = self._turn
            self._under_way[channel.key] += len(deliveries)
            transcripts = kinds.transcripts_for(deliveries)
            for delivery in deliveries:
                if message := self._prepare(channel, delivery, transcripts):
                    pool.submit(self._send, message)
        return started

    def _place_of(self, channel: Channel) -> tuple[int, int]:
        return self._under_way[channel.key], self._turns.get(channel.key, 0)

    def _limit_of(self, channel: Channel) -> int:
        """Number of messages of the channel that may be started now."""
        width = self._widths.setdefault(channel.key, 1 if channel.is_failing else FIRST_WIDTH)
        # ``sending`` counts the claims of all senders, ours among them.
        limit = min(width - self._under_way[channel.key], WIDEST - channel.sending)
        limit = min(limit, self._threads - self._under_way.total())
        if width == 1:
            narrow = sum(n for other, n in self._under_way.items() if self._widths.get(other) == 1)
            limit = min(limit, self._threads // 2 - narrow)
        return limit

    def _prepare(
        self, channel: Channel, delivery: Delivery, transcripts: dict[int, StoredTranscript]
    ) -> Message | None:
        """Build the message. An error of the portal's own is recorded as a failed attempt."""
        now, url = self._clock(), delivery.url
        try:
            kind = kinds.kind_of(delivery)
            body = kind.body(delivery, transcripts)
            headers = kind.headers(delivery, body, now)
        except Exception:  # An error of one message must not stop the others.
            logger.exception("delivery %s cannot be built", delivery.uid)
            outcome = Outcome(
                delivery.pk,
                delivery.attempts,
                url,
                now,
                0,
                error_code="not_built",
                error="The message could not be built; the operator's log has the details.",
                by_receiver=False,
            )
            self._answers.put((channel.key, outcome))
            return None
        parent = TaskTrace.parent_of(delivery.task_id)
        return Message(
            delivery.pk, delivery.uid, delivery.attempts, channel.key, url, body, headers, now, parent
        )

    def _send(self, message: Message) -> None:
        """Send a message. Runs in a thread of the pool, without the database."""
        begun, begun_at = time.monotonic(), time.time()
        try:
            outcome = attempt(message, self._policy, settings.WEBHOOK_TIMEOUT_SECONDS)
        except Exception:
            logger.exception("delivery %s: sending failed", message.uid)
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
        tracing.record(
            "deliver",
            message.trace_parent,
            begun_at,
            delivery=message.uid,
            attempt=message.attempt,
            kind=message.channel[0],
            status=outcome.status or 0,
            error=outcome.error_code,
        )
        self._answers.put((message.channel, outcome))

    def _collect(self) -> None:
        """Wait briefly for responses and record those that have arrived."""
        outcomes: list[Outcome] = []
        try:
            timeout = TICK_SECONDS if self._under_way.total() else 0.0
            answer = self._answers.get(timeout=timeout) if timeout else self._answers.get_nowait()
            while True:
                channel, outcome = answer
                outcomes.append(outcome)
                self._under_way[channel] -= 1
                self._adapt(channel, outcome)
                answer = self._answers.get_nowait()
        except Empty:
            pass
        if outcomes:
            delivery_lifecycle.record(outcomes, self.token, self._clock())

    def _adapt(self, channel: Key, outcome: Outcome) -> None:
        if outcome.accepted:
            self._widths[channel] = min(self._widths[channel] + 1, WIDEST)
        elif outcome.by_receiver:
            self._widths[channel] = 1

    def _is_due_soon(self) -> bool:
        return delivery_lifecycle.is_any_ready(self._clock() + self._linger)


def attempt(message: Message, allowed: Policy, timeout: float) -> Outcome:
    """Send one message and wait for the response."""
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
