"""`ChunkDecoder`: interface between Whisper's per-file logic and the batched decoding of all files' chunks.

Per-file code (language choice, retries, tails, words) submits requests and waits for their futures; a
:class:`ChunkDecoder` collects the requests of all callers into batches: on a CPU with a queue and batches of
eight, on a GPU with a loop that refills the rows of one static batch (continuous batching).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from batches.recognition.asr.decoding import Decoded
    from batches.recognition.asr.keywords import KeywordTree
    from batches.recognition.media.decoding import Samples

Work = Generator["Future[Any]", Any, None]  # yields the future it waits for, and is resumed with its result


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """Request for one attempt at one chunk. Requests with different parameters may share a batch."""

    samples: Samples  # (n,) float32, mono, 16 kHz; at most 30 s
    language: str  # Whisper's code, such as "en"
    prompt: tuple[int, ...] = ()  # text tokens before the start of the transcript
    keywords: KeywordTree | None = None
    temperature: float = 0.0  # 0: greedy
    full_context: bool = False  # the encoder context is 30 s even for a short chunk
    beam_width: int = 1  # hypotheses kept at each step; more than 1 only if supported
    digits: bool = True  # False, in beam search alone: numbers are written as words
    text: tuple[int, ...] = ()  # text tokens that are taken as decoded; only if the decoder scores texts


@dataclass(frozen=True, slots=True, eq=False)
class ScoreRequest:
    """Request for the log-probabilities of given texts of one chunk."""

    samples: Samples  # as in :class:`DecodeRequest`
    language: str
    texts: tuple[tuple[int, ...], ...]  # text tokens


class ChunkDecoder(Protocol):
    """Interface of a chunk decoder. Thread-safe."""

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        """Submit requests; returns one future per request, in order."""

    def detect_languages(
        self, chunks: Sequence[Samples], *, decoded_next: bool = True
    ) -> list[Future[dict[str, float]]]:
        """Probabilities of all of the model's languages, by code, for each chunk.

        ``decoded_next`` says that these chunks will be decoded, so that the decoder may keep their features.
        """

    def close(self) -> None:
        """End the decoder's thread. Pending futures are cancelled."""


class TextScorer(Protocol):
    """Interface of a chunk decoder that also scores given texts. Thread-safe."""

    def score(self, request: ScoreRequest) -> Future[list[float]]:
        """Log-probability of each text, with its end."""
