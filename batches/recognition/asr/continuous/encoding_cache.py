"""`EncodingCache`: cache of encoder output, reused after language detection and by further attempts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import ReferenceType, ref

from torch import Tensor

from batches.recognition.media.decoding import Samples

_KEPT_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    chunks: list[ReferenceType[Samples]]
    ids: list[int]  # of the chunks
    encoded: Tensor  # (chunks, frames, state)


class EncodingCache:
    """Cache of the latest batches of encodings, by the identity of the samples.

    It does not keep the samples: they may be views of a whole file, whose memory and disk space they hold.
    """

    def __init__(self, limit: int = _KEPT_BYTES) -> None:
        self._limit = limit  # bytes
        self._batches: deque[_Batch] = deque()
        self._places: dict[int, tuple[_Batch, int]] = {}  # by the samples' id(): batch and row
        self._bytes = 0

    def keep(self, chunks: Sequence[Samples], encoded: Tensor) -> None:
        """Store a copy of the chunks' encodings, (chunks, frames, state)."""
        batch = _Batch([ref(samples) for samples in chunks], list(map(id, chunks)), encoded.clone())
        self._batches.append(batch)
        for row, key in enumerate(batch.ids):
            self._places[key] = batch, row
        self._bytes += batch.encoded.nbytes
        while self._bytes > self._limit:
            self._drop_oldest()

    def get(self, samples: Samples) -> Tensor | None:
        """(frames, state), or None."""
        batch, row = self._places.get(id(samples), (None, 0))
        if batch is None or batch.chunks[row]() is not samples:  # an id() may be another object's later
            return None
        return batch.encoded[row]

    def _drop_oldest(self) -> None:
        batch = self._batches.popleft()
        self._bytes -= batch.encoded.nbytes
        for key in batch.ids:
            if self._places[key][0] is batch:  # it may be in a later batch too
                del self._places[key]
