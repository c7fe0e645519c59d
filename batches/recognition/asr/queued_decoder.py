"""`QueuedChunkDecoder`, for CPUs: a queue of requests, encoded and decoded in batches by the batch thread.

The encoder context depends only on the chunk, not on the other chunks of its batch, so that a chunk's text is
the same under any load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from whisper.model import ModelDimensions

from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.decoding import Decoded
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.runtime import memory
from batches.recognition.runtime.batching import BatchKind, BatchThread

# Encoder contexts in frames of 20 ms. Whisper repeats itself when it is given less than about 16 s.
CONTEXTS = (800, 1100)
_WINDOW_CONTEXT = 400  # for language detection alone
_MARGIN_FRAMES = 50  # of silence after the chunk's sound
_FULL_BATCH = 4  # rows at the whole context of 30 s, or of a beam search
_KEPT_BYTES = 128 * 1024**2  # limit of the cache of encoder features


class AudioNetwork(Protocol):
    """Interface of Whisper's encoder and language detection in a runtime."""

    @property
    def dims(self) -> ModelDimensions: ...

    def mel(self, samples: Samples, frames: int) -> Tensor:
        """Log-mel spectrogram, (mels, 2 * frames)."""

    def encode(self, mels: Tensor) -> Tensor:
        """(rows, mels, 2 * frames) to (rows, frames, state)."""

    def ask_languages(self, features: Tensor) -> list[dict[str, float]]:
        """Probabilities by language code for each row of features."""


class TextDecoder(Protocol):
    """Interface of Whisper's decoder in a runtime."""

    def group(self, request: DecodeRequest) -> Hashable:
        """Batch key: requests with the same key can share a batch."""

    def run(self, features: Tensor, requests: Sequence[DecodeRequest]) -> list[Decoded]:
        """Decode (rows, frames, state), one row per request."""


class ScoringTextDecoder(TextDecoder, Protocol):
    """Interface of a decoder that scores given texts, and takes :attr:`DecodeRequest.text` as decoded."""

    def score(self, features: Tensor, request: ScoreRequest) -> list[float]:
        """Log-probability of each of the request's texts, by features of (1, frames, state)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    samples: Samples  # referenced so that their id() is not reused
    features: Tensor


class QueuedChunkDecoder:
    """Chunk decoder that batches the chunks of all callers, at most ``batch_size`` at once."""

    def __init__(
        self, network: AudioNetwork, decoder: TextDecoder, thread: BatchThread, *, batch_size: int
    ) -> None:
        self._network, self._decoder, self._thread = network, decoder, thread
        self._detection: BatchKind[Samples, dict[str, float]] = BatchKind(
            self._detect, batch_size, lambda samples: self._context(len(samples), full=False)
        )
        self._window_detection: BatchKind[Samples, dict[str, float]] = BatchKind(
            self._detect_windows, batch_size, lambda samples: self._window_context(len(samples))
        )
        self._decoding: BatchKind[DecodeRequest, Decoded] = BatchKind(self._decode, batch_size, self._group)
        self._full_decoding: BatchKind[DecodeRequest, Decoded] = BatchKind(
            self._decode, min(batch_size, _FULL_BATCH), self._group
        )
        # Features by identity of the samples and context: chunks may be decoded several times.
        self._kept: OrderedDict[tuple[int, int], _Kept] = OrderedDict()

    def decode(self, requests: Sequence[DecodeRequest]) -> list[Future[Decoded]]:
        """As :meth:`ChunkDecoder.decode`. Requests whose samples are one object are encoded once."""
        return [
            future for request in requests for future in self._thread.submit(self._kind(request), [request])
        ]

    def _kind(self, request: DecodeRequest) -> BatchKind[DecodeRequest, Decoded]:
        wide = request.full_context or request.beam_width > 1
        return self._full_decoding if wide else self._decoding

    def detect_languages(
        self, chunks: Sequence[Samples], *, decoded_next: bool = True
    ) -> list[Future[dict[str, float]]]:
        """As :meth:`ChunkDecoder.detect_languages`."""
        return self._thread.submit(self._detection if decoded_next else self._window_detection, chunks)

    def close(self) -> None:
        """Clear the feature cache. The owner of the batch thread ends it."""
        self._kept.clear()

    def _context(self, samples: int, *, full: bool) -> int:
        """Encoder frames for a chunk of that many samples."""
        most = int(self._network.dims.n_audio_ctx)
        if full:
            return most
        needed = _needed_frames(samples)
        return next((context for context in CONTEXTS if needed <= context <= most), most)

    def _window_context(self, samples: int) -> int:
        """Encoder frames for language detection on that many samples."""
        if _needed_frames(samples) <= _WINDOW_CONTEXT <= self._network.dims.n_audio_ctx:
            return _WINDOW_CONTEXT
        return self._context(samples, full=False)

    def _group(self, request: DecodeRequest) -> Hashable:
        context = self._context(len(request.samples), full=request.full_context)
        return context, self._decoder.group(request)

    def _detect(self, chunks: list[Samples]) -> list[dict[str, float]]:
        context = self._context(len(chunks[0]), full=False)
        features = self._features(chunks, context)
        for samples, row in zip(chunks, features, strict=True):
            self._keep(samples, context, row)
        return self._network.ask_languages(torch.stack(features))

    def _detect_windows(self, windows: list[Samples]) -> list[dict[str, float]]:
        features = self._features(windows, self._window_context(len(windows[0])))
        return self._network.ask_languages(torch.stack(features))

    def _decode(self, requests: list[DecodeRequest]) -> list[Decoded]:
        full = requests[0].full_context
        context = self._context(len(requests[0].samples), full=full)
        features = self._features([request.samples for request in requests], context)
        for request, row in zip(requests, features, strict=True):
            self._keep(request.samples, context, row)
        return self._decoder.run(torch.stack(features), requests)

    def _features(self, chunks: Sequence[Samples], context: int) -> list[Tensor]:
        """Encoder output of each chunk, (frames, state): cached, or computed in one batch."""
        memory.release()
        found: dict[int, Tensor] = {}
        missing: dict[int, Samples] = {}
        for samples in chunks:
            if kept := self._kept.get((id(samples), context)):
                found[id(samples)] = kept.features
            else:
                missing[id(samples)] = samples
        if missing:
            mels = torch.stack([self._network.mel(samples, context) for samples in missing.values()])
            found |= zip(missing, self._network.encode(mels), strict=True)
        return [found[id(samples)] for samples in chunks]

    def _keep(self, samples: Samples, context: int, features: Tensor) -> None:
        self._kept[id(samples), context] = _Kept(samples, features.clone())
        self._kept.move_to_end((id(samples), context))
        size = features.numel() * features.element_size()
        while len(self._kept) * size > _KEPT_BYTES:
            self._kept.popitem(last=False)


class ScoringChunkDecoder(QueuedChunkDecoder):
    """Chunk decoder that also scores texts."""

    def __init__(
        self, network: AudioNetwork, decoder: ScoringTextDecoder, thread: BatchThread, *, batch_size: int
    ) -> None:
        super().__init__(network, decoder, thread, batch_size=batch_size)
        self._scorer = decoder
        # One chunk at a time: its texts are a batch.
        self._scoring: BatchKind[ScoreRequest, list[float]] = BatchKind(self._score, 1, lambda _: None)

    def score(self, request: ScoreRequest) -> Future[list[float]]:
        """As :meth:`TextScorer.score`."""
        (future,) = self._thread.submit(self._scoring, [request])
        return future

    def _score(self, requests: list[ScoreRequest]) -> list[list[float]]:
        (request,) = requests
        context = self._context(len(request.samples), full=False)
        (features,) = self._features([request.samples], context)
        return [self._scorer.score(features[None], request)]


def _needed_frames(samples: int) -> int:
    return round(samples / SAMPLE_RATE * FRAMES_PER_SECOND) + _MARGIN_FRAMES
