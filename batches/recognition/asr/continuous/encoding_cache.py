"""`EncodingCache`: cache of encoder output, reused after language detection and by further attempts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from batches.recognition.media.decoding import Samples

_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    chunks: Sequence[Samples]  # referenced, so that their id() is not reused
    encoded: Tensor  # (chunks, frames, state)


class EncodingCache:
    """Cache of the latest batches of encodings, by the identity of the samples."""

    def __init__(self, limit: int = _KEPT_BYTES) -> None:
        self._limit = limit  # bytes
        self._batches: deque[_Batch] = deque()
        self._places: dict[int, tuple[_Batch, int]] = {}  # by the samples' id(): batch and row
        self._bytes = 0

    def keep(self, chunks: Sequence[Samples], encoded: Tensor) -> None:
        """Store a copy of the chunks' encodings, (chunks, frames, state)."""
        batch = _Batch(chunks, encoded.clone())
        self._batches.append(batch)
        for row, samples in enumerate(chunks):
            self._places[id(samples)] = batch, row
        self._bytes += batch.encoded.nbytes
        while self._bytes > self._limit:
            self._drop_oldest()

    def get(self, samples: Samples) -> Tensor | None:
        """(frames, state), or None."""
        batch, row = self._places.get(id(samples), (None, 0))
        return None if batch is None else batch.encoded[row]

    def _drop_oldest(self) -> None:
        batch = self._batches.popleft()
        self._bytes -= batch.encoded.nbytes
        for samples in batch.chunks:
            if self._places[id(samples)][0] is batch:  # it may be in a later batch too
                del self._places[id(samples)]
