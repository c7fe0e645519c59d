"""`EncodingCache`: LRU cache of encoder output, reused after language detection and between retries."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor

from batches.recognition.media.decoding import Samples

_KEPT_BYTES = 256 * 2**20


class EncodingCache:
    """LRU cache of encodings, by the identity of the samples."""

    def __init__(self, limit: int = _KEPT_BYTES) -> None:
        self._limit = limit  # bytes
        # The samples are referenced too, so that their id() is not reused.
        self._kept: OrderedDict[int, tuple[Samples, Tensor]] = OrderedDict()
        self._bytes = 0

    def keep(self, samples: Samples, encoding: Tensor) -> None:
        """Store a chunk's encoding, (frames, state), which is copied out of its batch."""
        self.drop(samples)
        self._kept[id(samples)] = samples, encoding.clone()
        self._bytes += _size(encoding)
        while self._bytes > self._limit:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)

    def get(self, samples: Samples) -> Tensor | None:
        kept = self._kept.get(id(samples))
        return None if kept is None else kept[1]

    def drop(self, samples: Samples) -> None:
        kept = self._kept.pop(id(samples), None)
        if kept is not None:
            self._bytes -= _size(kept[1])


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
