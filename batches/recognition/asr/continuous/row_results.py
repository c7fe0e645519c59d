"""`RowResults`: attention maps and probabilities of ended rows of one static batch, on the device.

On a GPU they are CUDA graphs for a few numbers of rows and steps: some hundred small kernels, launched one by
one, take the decoding thread longer than the GPU, which waits meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.token_alignment import attention_maps, attention_scores
from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.runtime.cuda_graphs import Capture, GraphedFunction
from batches.recognition.runtime.staging import StagedTensor

GROUP_ROWS = (1, 4, 16, 32, 64)  # of one call; each size is a graph for each number of steps
_GROUP_STEPS = (32, 64, 128, 232)
GROUP_VALUES = 2**23  # of attention in one call: 34 MB, of which some ten copies are made
_COLUMNS = 4  # whole numbers of a row: its place, its first step, and its numbers of steps and frames


class RowTensors(NamedTuple):
    """Results of rows on the device; the next call overwrites them."""

    maps: Tensor  # (rows, at least their most steps without the lead, frames of the batch) float32
    logprobs: Tensor  # (rows, at least their most steps)
    no_speech: Tensor  # (rows,)


class RowResults:
    """Results of the rows of one static batch. Not thread-safe; for one stream."""

    def __init__(
        self,
        weights: DeviceWeights,
        batch: StaticBatch,
        no_speech: int,
        new_capture: Callable[[], Capture | None],
    ) -> None:
        self._weights, self._batch, self._no_speech = weights, batch, no_speech
        self._numbers = StagedTensor(GROUP_ROWS[-1] * _COLUMNS, weights.device, torch.long)
        self._graphs: GraphedFunction[RowTensors] = GraphedFunction(self._compute, new_capture)

    def most_rows(self, steps: int) -> int:
        """Most rows with so many steps of one call."""
        fit = [size for size in GROUP_ROWS if size * self._values(self._steps(steps)) <= GROUP_VALUES]
        return max(fit, default=GROUP_ROWS[0])

    @torch.inference_mode()
    def __call__(
        self,
        rows: NDArray[np.int64],
        first: NDArray[np.int64],
        steps: NDArray[np.int64],
        frames: NDArray[np.int64],
        lead: int,
    ) -> RowTensors:
        """Results of at most :meth:`most_rows` rows of the batch; all arrays are (rows,).

        ``first`` is the position of a row's start of the transcript, ``steps`` its number of steps from there
        on, of which the first ``lead`` have no text, and ``frames`` its number of encoder frames.
        """
        count, most = len(rows), self._steps(int(steps.max()))
        is_graphed = self._graphs.is_graphed and self._values(most) <= GROUP_VALUES
        size = next(size for size in GROUP_ROWS if size >= count) if is_graphed else count
        numbers = self._numbers.staging(size * _COLUMNS).reshape(_COLUMNS, size)
        for line, values in zip(numbers, (rows, first, steps, frames), strict=True):
            line[:count] = values
            line[count:] = values[0]
        self._numbers.upload(size * _COLUMNS)
        # The memory of a graph stays in use: rows of models with very many alignment heads are computed once.
        return self._graphs(size, most, lead) if is_graphed else self._compute(size, most, lead)

    def warm_up(self, lead: int) -> None:
        """Capture the graphs, which the first files would wait for. Does nothing without graphs."""
        if not self._graphs.is_graphed:
            return
        for steps in reversed(_GROUP_STEPS):  # the largest first: the others fit into their memory
            most = min(self.most_rows(steps), self._batch.rows) if self._values(steps) <= GROUP_VALUES else 0
            for rows in sorted({min(size, most) for size in GROUP_ROWS if most}, reverse=True):
                one = np.ones(rows, dtype=np.int64)
                self(one - 1, one - 1, one * steps, one, lead)

    def _values(self, steps: int) -> int:
        return steps * self._batch.frames * self._weights.alignment_head_count

    def _steps(self, steps: int) -> int:
        if not self._graphs.is_graphed:
            return steps
        return next((size for size in _GROUP_STEPS if size >= steps), steps)

    def _compute(self, count: int, most: int, lead: int) -> RowTensors:
        batch, weights = self._batch, self._weights
        rows, first, steps, frames = self._numbers.tensor[: count * _COLUMNS].view(_COLUMNS, count)
        places = first[:, None] + torch.arange(most, device=rows.device)
        queries = batch.queries[rows[:, None], places.clamp(max=batch.positions - 1)]
        scores = attention_scores(weights, batch, rows, queries)
        special = (batch.first_hidden[rows] @ weights.embedding.T).float().softmax(dim=-1)
        return RowTensors(
            attention_maps(scores, frames, steps, lead),
            batch.logprobs[rows, :most],
            special[:, self._no_speech].clone(),  # not a view that keeps all of it
        )
