"""Contracts between the engine and the models it runs.

A :class:`SpeechRecogniser` turns one file's chunks of speech into timed, scored words; a :class:`Diarizer`
turns a file's samples into speaker turns. Both are called from several threads at once, one per file in
hand, and may put the work of all callers into shared batches. Neither contract speaks of tokens,
spectrograms or any other matter of one family of models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from batches.recognition.diarization.segmentation import Segmentation
    from batches.recognition.media.decoding import Samples
    from batches.recognition.options import Options
    from batches.recognition.transcript import SpeakerTurn

SAMPLE_RATE = 16_000  # Hz
# Called with the share of the work that is done, 0..1. It raises to cancel the call.
Progress = Callable[[float], None]


class SpeechChunk:
    """A stretch of speech, cut from a file by voice activity: one part of its sound, or several joined.

    Parts are (n,) float32, mono, 16 kHz, together at most 30 s. They are views of the file's samples, so that
    hours of speech are not in memory twice. ``speech`` are the stretches in which somebody speaks, in seconds
    from the chunk's start, in order; without it the whole chunk is one.
    """

    __slots__ = ("_parts", "speech")

    def __init__(self, *parts: Samples, speech: Sequence[tuple[float, float]] | None = None) -> None:
        self._parts = parts
        self.speech = [(0.0, self.seconds)] if speech is None else list(speech)

    @property
    def samples(self) -> Samples:
        """(n,) float32. Several parts are joined anew at each call."""
        return self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)

    @property
    def seconds(self) -> float:
        return sum(map(len, self._parts)) / SAMPLE_RATE

    @property
    def speech_seconds(self) -> float:
        return sum(end - start for start, end in self.speech)

    def cut(self, start: float, end: float) -> SpeechChunk:
        """The chunk from ``start`` to ``end``, in seconds."""
        samples = self.samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        inside = [
            (max(a, start) - start, min(b, end) - start) for a, b in self.speech if a < end and b > start
        ]
        return SpeechChunk(samples, speech=inside)


@dataclass(slots=True)
class TimedWord:
    """A word with its leading space, if the script has spaces. Times in seconds from the chunk's start."""

    text: str
    start: float
    end: float
    probability: float  # 0..1


@dataclass(slots=True)
class RecognisedChunk:
    """A recogniser's best attempt at one chunk. Chunks without speech have no words."""

    words: list[TimedWord]
    language: str  # ISO 639-1 code
    mean_logprob: float = 0.0  # natural logarithm, mean over the units that the recogniser scores
    no_speech_probability: float = 0.0  # 0..1
    compression_ratio: float = 1.0
    flags: list[str] = field(default_factory=list)  # of the transcript's segments, such as "repetition"


@dataclass(slots=True)
class RecognisedFile:
    """All chunks of one file, in the order they were given."""

    chunks: list[RecognisedChunk]
    language: str
    language_probability: float  # 0..1
    flags: list[str] = field(default_factory=list)  # of the whole file, such as "language_mismatch"


class SpeechRecogniser(Protocol):
    """One loaded speech recognition model."""

    @property
    def name(self) -> str:
        """The distribution that runs it, such as "openai-whisper"; results name its version."""

    @property
    def model(self) -> str:
        """The model's name as the operator offers it."""

    def recognise(
        self, chunks: Sequence[SpeechChunk], options: Options, progress: Progress
    ) -> RecognisedFile:
        """Recognise all chunks of one file. Raises RecognitionError and whatever ``progress`` raises."""

    def close(self) -> None:
        """End its threads, so that its memory is free afterwards. Pending work is cancelled."""


class Diarizer(Protocol):
    """One loaded speaker diarization model or pipeline."""

    @property
    def model(self) -> str:
        """The model's name as the operator offers it."""

    def diarize(
        self,
        samples: Samples,
        segmentation: Segmentation | None,
        *,
        min_speakers: int,
        max_speakers: int,
        progress: Progress,
    ) -> list[SpeakerTurn]:
        """Speaker turns in order of start; those of different speakers may overlap.

        ``samples`` are (n,) float32, mono, 16 kHz. ``segmentation`` is what voice activity detection has
        computed already, if it was a segmentation model; a pipeline with its own ignores it. -1 speakers
        means not set. Raises ValueError for impossible bounds and whatever ``progress`` raises.
        """
