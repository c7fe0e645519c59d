"""Live segments: a worker stores segments of a streamed task while it is being recognised."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from batches.models import Batch, ClientRequest, StreamedSegments, Task
from batches.operations.privacy import retention
from batches.recognition.transcript import OnSegments, Segment, Transcript, Word
from batches.tasks import lifecycle, scheduling
from batches.tasks.leases import LeaseLost
from batches.worker import live_segments
from domains.redaction import RedactionSettings
from tests.factories import make_batch
from tests.workbench import Engine, Progress, drop, work

pytestmark = pytest.mark.django_db
FILLER = "Nothing that anybody would want to hide is said in this long sentence. " * 3


class Talker(Engine):
    """Engine that returns sentences one by one; ``between`` is called after each."""

    def __init__(self, *sentences: str, language: str = "en") -> None:
        super().__init__()
        self.sentences, self.language = sentences, language
        self.between: Callable[[int], None] = lambda _count: None
        self.starts = 1  # how often recognition begins

    def transcribe(
        self,
        path: Path,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        self._step("transcribe", on_progress)
        segments = [segment(number, text) for number, text in enumerate(self.sentences)]
        for _ in range(self.starts):
            for number, each in enumerate(segments):
                if on_segments:
                    on_segments(number, [each], self.language)
                self.between(number + 1)
        return Transcript(self.language, 1.0, 1000 * len(segments), segments)

    def add_speakers(
        self, path: Path, transcript: Transcript, options: Any, on_progress: Progress, *, alone: bool = False
    ) -> Transcript:
        return transcript


def segment(number: int, text: str) -> Segment:
    start = 1000 * number
    return Segment(start, start + 900, text, [Word(start, start + 900, f" {text}")])


@pytest.fixture
def batch(settings: Settings) -> Batch:
    settings.SETTLE_SECONDS = 0
    return make_batch(name="calls", speakers=True)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_segments, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(live_segments, "_SHARE", 0)


def streamed(batch: Batch, **answer: Any) -> Task:
    task = drop(batch)
    ClientRequest.unscoped.create(task=task, interface="openai", answer={"stream": True, **answer})
    return task


def texts(task: Task) -> list[str]:
    rows = StreamedSegments.unscoped.filter(task=task).order_by("position")
    found = [each["text"] for row in rows for each in row.segments]
    assert [row.position for row in rows] == [
        sum(len(earlier.segments) for earlier in rows[:number]) for number in range(len(rows))
    ]
    return found


def test_segments_are_stored_as_they_come(batch: Batch) -> None:
    task, engine = streamed(batch), Talker("One.", "Two.", "Three.")
    seen: list[list[str]] = []
    engine.between = lambda _count: seen.append(texts(task))
    assert work(engine).state == Task.State.COMPLETED
    assert seen == [["One."], ["One.", "Two."], ["One.", "Two.", "Three."]]
    assert texts(task) == seen[-1]


def test_nothing_is_stored_for_those_who_do_not_ask(batch: Batch) -> None:
    task = drop(batch)
    ClientRequest.unscoped.create(task=task, interface="openai", answer={"stream": False})
    assert work(Talker("One.")).state == Task.State.COMPLETED
    assert not StreamedSegments.unscoped.exists()


def test_turns_of_speakers_wait_for_the_speakers(batch: Batch) -> None:
    assert batch.recognition.speakers
    task = streamed(batch, response_format="diarized_json")
    work(Talker("One."))
    assert texts(task) == []
    Batch.unscoped.filter(pk=batch.pk).update(
        recognition=batch.recognition.with_changes({"speakers": False, "channels_as_speakers": True})
    )
    batch.refresh_from_db()
    other = drop(batch, "b.mp3")
    ClientRequest.unscoped.create(
        task=other, interface="openai", answer={"stream": True, "response_format": "diarized_json"}
    )
    work(Talker("Two."))
    assert texts(other) == ["Two."]


def test_only_what_may_be_shown_is_stored(batch: Batch) -> None:
    assert batch.domain is not None
    domain = batch.domain
    domain.redaction = RedactionSettings(kinds={"card": "mask"})
    domain.forbidden_words = ["damn"]
    domain.replacement_rows = [{"heard": "portal", "written": "Portal"}]
    domain.save()
    task = streamed(batch)
    engine = Talker("My damn card is 4012 8888", "8888 1881 for the portal.", FILLER, FILLER, FILLER)
    seen: list[list[str]] = []
    engine.between = lambda _count: seen.append(texts(task))
    assert work(engine).state == Task.State.COMPLETED
    assert all("8888" not in text and "damn" not in text for each in seen for text in each)
    assert seen[1] == []  # The number might go on.
    assert seen[-1][:2] == texts(task)[:2] == ["My **** card is ****", "**** for the Portal."]
    assert len(texts(task)) == 5


def test_rules_of_a_language_wait_until_it_is_known(batch: Batch) -> None:
    assert batch.domain is not None
    batch.domain.replacement_rows = [{"heard": "one", "written": "1", "language": "ko"}]
    batch.domain.save()
    task, engine = streamed(batch), Talker("one", language="")
    seen: list[list[str]] = []
    engine.between = lambda _count: seen.append(texts(task))
    work(engine)
    assert (seen, texts(task)) == ([[]], ["one"])


def test_an_engine_that_starts_again_begins_anew(batch: Batch) -> None:
    task, engine = streamed(batch), Talker("One.", "Two.")
    engine.starts = 2
    seen: list[list[str]] = []
    engine.between = lambda _count: seen.append(texts(task))
    work(engine)
    assert seen == [["One."], ["One.", "Two."]] * 2
    assert texts(task) == ["One.", "Two."]


def test_a_worker_that_has_lost_its_task_stores_nothing(batch: Batch) -> None:
    task = streamed(batch)
    lease = scheduling.claim_next("test")
    assert lease is not None
    lifecycle.stream(lease, 0, [{"text": "One."}])
    lifecycle.release(lease, None, count_attempt=False)
    later = scheduling.claim_next("another")
    assert later is not None
    with pytest.raises(LeaseLost):
        lifecycle.stream(lease, 1, [{"text": "Two."}])
    lifecycle.stream(later, 0, [{"text": "Uno."}])
    assert texts(task) == ["Uno."]


def test_rows_are_removed_a_day_later(batch: Batch) -> None:
    task = streamed(batch)
    work(Talker("One."))
    retention.enforce()
    assert texts(task) == ["One."]
    retention.enforce(timezone.now() + timedelta(days=2))
    assert texts(task) == []
