"""Interfaces between the engine and the models it runs.

A :class:`SpeechRecogniser` turns one file's chunks of speech into timed, scored words; a :class:`Diarizer`
turns a file's samples into speaker turns. Both are called from several threads at once, one per file in
progress, and may batch the work of all callers. Neither interface depends on tokens, spectrograms or other
details of one model family.
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
    from batches.recognition.transcript import KeywordOutcome, SpeakerTurn

SAMPLE_RATE = 16_000  # Hz
# Called with the completed share of the work, 0..1. It raises to cancel the call.
Progress = Callable[[float], None]


class SpeechChunk:
    """Chunk of speech, cut from a file by voice activity detection: one part of its audio, or several joined.

    Parts are (n,) float32, mono, 16 kHz, together at most 30 s. They are views of the file's samples, so that
    hours of speech are not in memory twice. ``speech`` lists the speech regions in seconds from the chunk's
    start, in order; without it the whole chunk is one region.
    """

    __slots__ = ("_parts", "speech")

    def __init__(self, *parts: Samples, speech: Sequence[tuple[float, float]] | None = None) -> None:
        self._parts = parts
        self.speech = [(0.0, self.seconds)] if speech is None else list(speech)

    @property
    def samples(self) -> Samples:
        """Samples, (n,) float32. Several parts are concatenated again at each call."""
        return self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)

    @property
    def seconds(self) -> float:
        return sum(map(len, self._parts)) / SAMPLE_RATE

    @property
    def speech_seconds(self) -> float:
        return sum(end - start for start, end in self.speech)

    def cut(self, start: float, end: float) -> SpeechChunk:
        """Part of the chunk from ``start`` to ``end``, in seconds."""
        samples = self.samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
        inside = [
            (max(a, start) - start, min(b, end) - start) for a, b in self.speech if a < end and b > start
        ]
        return SpeechChunk(samples, speech=inside)


@dataclass(slots=True)
class TimedWord:
    """Word with its leading space, if the script has spaces. Times in seconds from the chunk's start."""

    text: str
    start: float
    end: float
    probability: float  # 0..1


@dataclass(slots=True)
class RecognisedChunk:
    """Result of one chunk: the recogniser's best attempt. Chunks without speech have no words."""

    words: list[TimedWord]
    language: str  # ISO 639-1 code
    mean_logprob: float = 0.0  # natural logarithm, mean over the units that the recogniser scores
    no_speech_probability: float = 0.0  # 0..1
    compression_ratio: float = 1.0
    flags: list[str] = field(default_factory=list)  # of the transcript's segments, such as "repetition"


@dataclass(slots=True)
class RecognisedFile:
    """Result of one file: all chunks, in the order in which they were passed."""

    chunks: list[RecognisedChunk]
    language: str
    language_probability: float  # 0..1
    flags: list[str] = field(default_factory=list)  # of the whole file, such as "language_mismatch"
    keywords: list[KeywordOutcome] = field(default_factory=list)  # of the keywords that were tried


# Called with the index of a chunk and its final result, once for each chunk, in any order.
OnChunk = Callable[[int, RecognisedChunk], None]


class SpeechRecogniser(Protocol):
    """Interface of a loaded speech recognition model."""

    @property
    def name(self) -> str:
        """Name of the Python distribution that runs the model, such as "openai-whisper"."""

    @property
    def model(self) -> str:
        """The model's name as the operator offers it."""

    def recognise(
        self,
        chunks: Sequence[SpeechChunk],
        options: Options,
        progress: Progress,
        on_chunk: OnChunk | None = None,
    ) -> RecognisedFile:
        """Recognise all chunks of one file.

        With ``on_chunk``, chunks are processed in order of time as far as batching allows, and each is
        reported as soon as its result is final; the result is the same. Raises RecognitionError, and
        exceptions from ``progress`` and ``on_chunk`` propagate.
        """

    def close(self) -> None:
        """End the recogniser's threads and free its memory. Pending work is cancelled."""


class Diarizer(Protocol):
    """Interface of a loaded speaker diarization model or pipeline."""

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
        """Return speaker turns in order of start; those of different speakers may overlap.

        ``samples`` are (n,) float32, mono, 16 kHz. ``segmentation`` is the output of voice activity
        detection, if that was a segmentation model; a pipeline with its own ignores it. -1 speakers means
        not set. Raises ValueError for invalid bounds; exceptions from ``progress`` propagate.
        """
