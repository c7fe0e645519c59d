"""Frames of tokens from the alignment heads, batched: the method of ``alignment.word_times`` for many rows.

No attention weights are stored while decoding. The queries of each step and the keys of the audio are there
anyway; their products for all steps of a row are computed at once when the row has ended.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.alignment.word_times import SMOOTHING
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.weights import DeviceWeights

_HALF = SMOOTHING // 2
# Compare-exchanges after which the fourth of seven values is their median.
_MEDIAN_NETWORK = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
)  # fmt: skip


def attention_scores(weights: DeviceWeights, batch: StaticBatch, rows: Tensor, queries: Tensor) -> Tensor:
    """The alignment heads' cross-attention before the softmax, (len(rows), heads, tokens, frames).

    ``queries`` (len(rows), tokens, heads, head size) are the rows' kept queries.
    """
    scores, at = [], 0
    for layer, heads in weights.alignment_heads.items():
        keys = torch.stack([batch.cross[layer][0][rows, head] for head in heads], dim=1)
        asked = queries[:, :, at : at + len(heads)].transpose(1, 2)
        scores.append(asked @ keys.transpose(-1, -2))
        at += len(heads)
    return torch.cat(scores, dim=1)


def attention_maps(scores: Tensor, frames: Tensor, tokens: Tensor, lead: int) -> Tensor:
    """:func:`batches.recognition.alignment.word_times.attention_map` for rows of different sizes.

    ``scores`` are (rows, heads, steps, frames); ``frames`` and ``tokens`` (rows,) say how much of it belongs
    to each row, ``tokens`` with the ``lead`` special tokens. Returns (rows, steps - lead, frames), float32,
    with zeros beyond a row's frames.
    """
    steps, width = scores.shape[2:]
    column = torch.arange(width, device=scores.device)
    outside = (column >= frames[:, None])[:, None, None]
    weights = scores.float().masked_fill(outside, -torch.inf).softmax(dim=-1)
    inside = (torch.arange(steps, device=scores.device) < tokens[:, None])[:, None, :, None]
    weights = weights * inside
    count = tokens[:, None, None, None].float()
    mean = weights.sum(dim=2, keepdim=True) / count
    variance = ((weights - mean).square() * inside).sum(dim=2, keepdim=True) / count
    standard = ((weights - mean) / variance.sqrt().clamp(min=1e-9))[:, :, lead:]
    smooth = _median(_reflected(standard, frames), width)
    smooth = torch.where((frames <= _HALF)[:, None, None, None], standard, smooth)
    return smooth.mean(dim=1).masked_fill(outside[:, 0], 0.0)


def _reflected(values: Tensor, frames: Tensor) -> Tensor:
    """Values with three mirrored ones on either side of each row's frames, (..., frames + 6)."""
    width = values.shape[-1]
    last = (frames - 1)[:, None]
    column = torch.arange(-_HALF, width + _HALF, device=values.device).abs()[None]
    column = torch.where(column > last, 2 * last - column, column).clamp(0, width - 1)
    return values.gather(3, column[:, None, None].expand(*values.shape[:3], -1))


def _median(padded: Tensor, width: int) -> Tensor:
    """Median of seven neighbours along the last axis, by a sorting network over shifted views."""
    values = [padded[..., shift : shift + width] for shift in range(SMOOTHING)]
    for low, high in _MEDIAN_NETWORK:
        values[low], values[high] = (
            torch.minimum(values[low], values[high]),
            torch.maximum(values[low], values[high]),
        )
    return values[_HALF]


def _warp(cost: NDArray[np.float32], entered: NDArray[np.int64]) -> None:
    """:func:`batches.recognition.alignment.word_times.warp` in loops, to be compiled."""
    rows, columns = cost.shape
    found = np.empty((rows, columns), dtype=np.int64)  # the column at which the best path enters the row
    totals = np.empty((rows, columns))
    for row in range(rows):
        running = 0.0
        lowest = np.inf
        where = 0
        for column in range(columns):
            entry = np.inf
            if row == 0:
                if column == 0:
                    entry = 0.0
            else:
                entry = totals[row - 1, column]
                if column > 0 and totals[row - 1, column - 1] < entry:
                    entry = totals[row - 1, column - 1]
            value = np.float64(cost[row, column])
            running += value
            offset = entry - (running - value)
            if offset < lowest:
                lowest, where = offset, column
            found[row, column] = where
            totals[row, column] = running + lowest
    column = columns - 1
    for row in range(rows - 1, 0, -1):
        column = found[row, column]
        entered[row] = column
        if column > 0 and totals[row - 1, column - 1] <= totals[row - 1, column]:
            column -= 1


# Compiled at the first call, in about a second; releases the GIL.
_compiled_warp: Callable[[NDArray[np.float32], NDArray[np.int64]], None] = numba.njit(nogil=True)(_warp)


def warp(cost: NDArray[np.float32]) -> NDArray[np.int64]:
    """The frame at which the cheapest monotonic path enters each row of (tokens, frames)."""
    entered = np.zeros(len(cost), dtype=np.int64)
    _compiled_warp(np.ascontiguousarray(cost), entered)
    return entered


def warm_up_warp() -> None:
    """Compile the warping before the first file needs it."""
    warp(np.zeros((2, 2), dtype=np.float32))


def groups(sizes: NDArray[np.int64], most: Callable[[int], int]) -> list[NDArray[np.int64]]:
    """Indices of ``sizes`` in groups, like sizes together; ``most`` is how many its largest one allows."""
    left = np.argsort(-sizes, kind="stable")
    found = []
    while left.size:
        count = most(int(sizes[left[0]]))
        found.append(left[:count])
        left = left[count:]
    return found
