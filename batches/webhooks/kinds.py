"""Message kinds: the body and headers of each kind of outbox message.

The sender, the retry policy, leases, metrics and pages are the same for every kind. A package above this one
that posts messages of its own subclasses :class:`MessageKind`; its module is imported when the application
starts (``BatchesConfig.ready``).
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext_lazy as _

from batches.models import Delivery, StoredTranscript
from batches.webhooks import endpoint, events, payload, signing

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

KINDS: dict[str, MessageKind] = {}
WEBHOOK = Delivery.WEBHOOK


class MessageKind(abc.ABC):
    """Kind of message. An instance of each subclass registers itself under its name."""

    name: ClassVar[str]
    label: ClassVar[_StrOrPromise]

    def __init_subclass__(cls) -> None:
        KINDS[cls.name] = cls()

    @abc.abstractmethod
    def body(self, delivery: Delivery, transcripts: Mapping[int, StoredTranscript]) -> bytes:
        """Body of the request. ``transcripts`` are those of :func:`transcripts_for`, by task ID."""

    @abc.abstractmethod
    def headers(self, delivery: Delivery, body: bytes, now: datetime) -> dict[str, str]:
        """Headers of the request, with its content type."""

    def title(self, delivery: Delivery) -> _StrOrPromise:
        """Name of the message for people."""
        return self.label


class WebhookMessage(MessageKind):
    """Webhook message of a batch: JSON, signed by the Standard Webhooks scheme."""

    name = WEBHOOK
    label = _("Webhook")

    def body(self, delivery: Delivery, transcripts: Mapping[int, StoredTranscript]) -> bytes:
        if delivery.task_id is None or not carries_result(delivery):
            return delivery.payload.encode()
        return payload.with_result(delivery.payload, transcripts.get(delivery.task_id))

    def headers(self, delivery: Delivery, body: bytes, now: datetime) -> dict[str, str]:
        secrets = endpoint.signing_secrets(delivery.batch.webhook, now)
        signed = signing.headers(secrets, delivery.uid, int(now.timestamp()), body)
        return {**signed, "Content-Type": "application/json"}

    def title(self, delivery: Delivery) -> _StrOrPromise:
        return events.label_of(delivery.event)


def kind_of(delivery: Delivery) -> MessageKind:
    """Return the kind of a delivery. Raises LookupError for one that this release does not know."""
    try:
        return KINDS[delivery.kind]
    except KeyError:
        raise LookupError(f"unknown message kind {delivery.kind!r}") from None


def transcripts_for(deliveries: Iterable[Delivery]) -> dict[int, StoredTranscript]:
    """Transcripts that webhook messages contain, by the ID of their task, in one query."""
    tasks = [each.task_id for each in deliveries if carries_result(each)]
    found = StoredTranscript.unscoped.filter(task__in=tasks).select_related("task") if tasks else []
    return {transcript.task_id: transcript for transcript in found}


def carries_result(delivery: Delivery) -> bool:
    """Whether the task's recognition result is added to the payload when it is sent."""
    event = events.EVENTS.get(delivery.event)
    return event is not None and event.carries_result


def title_of(delivery: Delivery) -> _StrOrPromise:
    kind = KINDS.get(delivery.kind)
    return kind.title(delivery) if kind else delivery.kind


def labels() -> list[tuple[str, _StrOrPromise]]:
    """Names and labels, as choices."""
    return [(name, kind.label) for name, kind in KINDS.items()]
