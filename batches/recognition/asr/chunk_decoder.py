"""The seam between Whisper's per-file logic and the device that decodes chunks of all files in hand.

Per-file code (language choice, retries, tails, words) submits requests and waits for their futures; a
:class:`ChunkDecoder` gathers the requests of all callers into batches. On a CPU that is a queue in front of
batches of eight; on a GPU a loop that refills the rows of one static batch (GPU.md's arena).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from batches.recognition.asr.decoding import Decoded
    from batches.recognition.asr.keywords import KeywordTree
    from batches.recognition.media.decoding import Samples


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """One attempt at one chunk. Requests that differ in any of these may share a batch."""

    samples: Samples  # (n,) float32, mono, 16 kHz; at most 30 s
    language: str  # Whisper's code, such as "en"
    prompt: tuple[int, ...] = ()  # text tokens before the start of the transcript
    keywords: KeywordTree | None = None
    temperature: float = 0.0  # 0: greedy
    full_context: bool = False  # the encoder sees 30 s, however short the chunk is
    beam_width: int = 1  # texts kept at each step; only decoders that say so take more than one


class ChunkDecoder(Protocol):
    """Decodes chunks. Thread-safe."""

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        """One future per request, in their order."""

    def detect_languages(self, chunks: Sequence[Samples]) -> list[Future[dict[str, float]]]:
        """Probabilities of all of the model's languages, by code, for each chunk."""

    def close(self) -> None:
        """End the decoder's thread. Pending futures are cancelled."""
