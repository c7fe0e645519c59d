"""`RowFilling`: puts encoded chunks into free rows of one static batch. On a GPU that is a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.runtime.cuda_graphs import Capture, GraphedFunction
from batches.recognition.runtime.staging import StagedTensor

_SIZES = (1, 4, 16)  # rows filled by one call; each is a graph
_MICRO = 1e6  # temperatures are passed on in millionths


@dataclass(frozen=True, slots=True)
class RowStart:
    """Initial state of a row. ``initial`` ends with the tokens that start the transcript."""

    initial: Sequence[int]
    start_of_transcript: int  # position in ``initial``
    limit: int  # most tokens that may be written
    keywords: int = 0  # state of the keyword tables; 0 for none
    bias: int = 0  # first of the two bias rows of the keyword tables; 0 for none
    temperature: float = 0.0
    seed: int = 0  # of the noise, where the temperature is not 0

    def numbers(self) -> list[int]:
        """Whole numbers of the row, in the order of the batch's."""
        return [
            self.initial[0], 0, len(self.initial), self.start_of_transcript, self.limit, self.keywords,
            self.bias, self.seed, *self.initial,
        ]  # fmt: skip


class RowFilling:
    """Filling of one static batch. Not thread-safe; for one stream."""

    def __init__(
        self, weights: DeviceWeights, batch: StaticBatch, new_capture: Callable[[], Capture | None]
    ) -> None:
        self._weights, self._batch = weights, batch
        state = weights.dims.n_audio_state
        self._encoded = torch.zeros(
            _SIZES[-1], batch.frames, state, dtype=weights.dtype, device=weights.device
        )
        self._columns = 2 + batch.filled_numbers  # the row and its temperature come first
        self._numbers = StagedTensor(_SIZES[-1] * self._columns, weights.device, torch.long)
        self._graphs = GraphedFunction(self._fill, new_capture)

    @torch.inference_mode()
    def __call__(self, rows: Sequence[int], encoded: Tensor, starts: Sequence[RowStart]) -> None:
        """Put encoded chunks, (len(rows), frames, state), into free rows."""
        for first in range(0, len(rows), _SIZES[-1]):
            part = slice(first, first + _SIZES[-1])
            self._fill_part(rows[part], encoded[part], starts[part])

    def warm_up(self) -> None:
        """Capture the graphs, which the first files would wait for. Does nothing without graphs."""
        if not self._graphs.is_graphed:
            return
        for size in reversed(_SIZES):  # the largest first: the others fit into its memory
            rows = [*range(min(size, self._batch.rows))]
            self(rows, self._encoded[: len(rows)], [RowStart([0], 0, 1)] * len(rows))
            self._batch.stop(rows)

    def _fill_part(self, rows: Sequence[int], encoded: Tensor, starts: Sequence[RowStart]) -> None:
        count = size = len(rows)
        if self._graphs.is_graphed:
            size = next(size for size in _SIZES if size >= count)
        numbers = self._numbers.staging(size * self._columns).reshape(size, self._columns)
        numbers[:count] = self._numbers_of(rows, starts)
        numbers[count:] = numbers[count - 1]  # a row that is written twice is written with the same values
        self._numbers.upload(size * self._columns)
        self._encoded[:count] = encoded
        self._encoded[count:size] = encoded[-1]
        self._graphs(size)

    def _numbers_of(self, rows: Sequence[int], starts: Sequence[RowStart]) -> NDArray[np.int64]:
        numbers = np.zeros((len(rows), self._columns), dtype=np.int64)
        for line, row, start in zip(numbers, rows, starts, strict=True):
            own = [row, round(start.temperature * _MICRO), *start.numbers()]
            line[: len(own)] = own
        return numbers

    def _fill(self, count: int) -> None:
        weights, batch = self._weights, self._batch
        numbers = self._numbers.tensor[: count * self._columns].view(count, self._columns)
        index, encoded = numbers[:, 0], self._encoded[:count]
        for cross, layer in zip(batch.cross, weights.decoder_layers, strict=True):
            keys_values = F.linear(encoded, *layer.cross_kv)
            split = keys_values.view(count, batch.frames, 2, weights.heads, weights.head_size)
            cross[:, index] = split.permute(2, 0, 3, 1, 4)
        batch.start(index, numbers[:, 2:], numbers[:, 1] / _MICRO)
