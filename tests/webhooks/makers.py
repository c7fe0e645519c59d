"""Factories for webhook tests: batches with a receiver, deliveries, finished tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batches.models import Batch, Delivery, StoredTranscript, Task
from batches.webhooks import endpoint
from batches.webhooks.events import EVENTS, WebhookTest
from batches.webhooks.outbox import announce
from tests.factories import make_batch, make_task

DOCUMENT = {
    "language": "ko",
    "language_probability": 0.98,
    "duration": 5000,
    "segments": [
        {
            "start": 0,
            "end": 2400,
            "text": " 안녕하세요, 여보세요.",
            "words": [{"start": 10, "end": 900, "text": " 안녕하세요,", "probability": 0.91, "speaker": "1"}],
            "confidence": 0.94,
            "speaker": "1",
            "mean_logprob": -0.2,
            "no_speech_probability": 0.01,
            "compression_ratio": 1.2,
            "flags": [],
        }
    ],
    "speakers": ["1"],
    "turns": [{"start": 0, "end": 2400, "speaker": "1"}],
    "speech_duration": 2400,
    "engine": {"name": "whisper", "model": "base"},
    "flags": [],
    "version": 1,
}


@dataclass(frozen=True)
class MadeUp(WebhookTest):
    """Test event with any data."""

    contents_of_data: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        return self.contents_of_data


EVENTS[WebhookTest.type] = WebhookTest  # ``MadeUp`` is for these tests alone.


def make_hooked_batch(url: str, **fields: Any) -> Batch:
    """Create a batch with a webhook URL, as the service does."""
    batch = make_batch(**fields)
    batch.webhook_url = url
    batch.save(update_fields=["webhook_url"])
    endpoint.address_changed(batch)
    return batch


def make_delivery(batch: Batch, about: str = "", **data: Any) -> Delivery:
    """A test message that is due; each is about something of its own unless ``about`` is given."""
    number = Delivery.unscoped.filter(batch=batch).count() + 1
    delivery = announce(batch, MadeUp(about or f"x{number}", "", str(number), data))
    assert delivery is not None
    return delivery


def make_transcript(task: Task) -> StoredTranscript:
    return StoredTranscript.unscoped.create(
        task=task, stage=StoredTranscript.Stage.SPEAKERS, document=DOCUMENT
    )


def make_completed(batch: Batch) -> Task:
    task = make_task(batch, state=Task.State.COMPLETED, media_duration=5000)
    make_transcript(task)
    return task
