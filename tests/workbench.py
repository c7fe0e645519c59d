"""A batch on a local folder, files dropped into it, and a worker with an engine that answers at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from batches.intake import polling
from batches.models import Batch, ConnectionBackoff, Task
from batches.recognition.transcript import OnSegments, Segment, SpeakerTurn, Transcript, Word
from batches.tasks import scheduling
from batches.worker import processing

Progress = Callable[[float], None]


class Engine:
    """Stand-in for recognition; ``during`` is called in the middle of each step."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.languages: list[str] = []
        self.channels: list[bool] = []
        self.alone: list[bool] = []
        self.forgotten: list[Path] = []
        self.during: dict[str, Callable[[], None]] = {}

    def _step(self, name: str, on_progress: Progress) -> None:
        self.calls.append(name)
        on_progress(0.5)
        self.during.get(name, lambda: None)()
        on_progress(1.0)

    def transcribe(
        self,
        path: Path,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
        on_segments: OnSegments | None = None,
    ) -> Transcript:
        assert path.read_bytes()
        self.alone.append(alone)
        self.languages.append(options.language)
        self.channels.append(options.channels)
        self._step("transcribe", on_progress)
        words = [Word(0, 400, "Good"), Word(400, 900, " morning")]
        return Transcript("en", 1.0, 1000, [Segment(0, 900, "Good morning", words)])

    def add_speakers(
        self,
        path: Path,
        transcript: Transcript,
        options: Any,
        on_progress: Progress,
        *,
        alone: bool = False,
    ) -> Transcript:
        self.alone.append(alone)
        self._step("add_speakers", on_progress)
        transcript.speakers, transcript.turns = ["1"], [SpeakerTurn(0, 900, "1")]
        transcript.segments[0].speaker = "1"
        return transcript

    def decode_ahead(self, path: Path, options: Any, progress: Progress) -> None:
        assert path.read_bytes()
        self.calls.append("decode_ahead")

    def forget(self, path: Path) -> None:
        self.forgotten.append(path)


def folder(batch: Batch) -> Path:
    assert batch.connection is not None
    return Path(batch.connection.place)


def put(batch: Batch, name: str, content: bytes = b"sound") -> Path:
    path = folder(batch) / batch.input_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def drop(batch: Batch, name: str = "a.mp3", content: bytes = b"sound") -> Task:
    """Write a file into the input path; returns the task that polling creates."""
    put(batch, name, content)
    polling.poll(batch.pk)
    assert polling.poll(batch.pk) == 1
    return Task.unscoped.latest("pk")


def work(engine: Engine, stopping: Callable[[], bool] = lambda: False) -> Task:
    """Claim the next task and process it."""
    claim = scheduling.claim_next("test")
    assert claim is not None
    processing.process(claim, engine, stopping)  # type: ignore[arg-type] # the stand-in
    return Task.unscoped.get(pk=claim.task_id)


def files(batch: Batch) -> set[str]:
    root = folder(batch)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def again_at_once() -> None:
    """End all back-off times and waits."""
    ConnectionBackoff.unscoped.all().delete()
    Batch.unscoped.update(held_until=None)
    Task.unscoped.update(available_at=Task.unscoped.earliest("pk").created_at)
