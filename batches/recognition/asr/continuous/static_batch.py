"""Static batch: all tensors of the decoder for a fixed number of rows, each at its own position.

Nothing here is ever reallocated, so a captured CUDA graph stays valid. The first rows of every tensor are a
batch of their own: a step may run over a prefix. Finished and empty rows recompute their last step and
change nothing, so a step never has to know which rows are in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.models.gpu_memory import MAX_POSITIONS
from batches.recognition.runtime.device import is_gpu

INITIAL_TOKENS = 120  # at most that many tokens are given: a prompt and the start of the transcript
_COLUMNS, _POSITION = 8, 1  # whole numbers of a row beside its tokens, and which of them the position is


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Snapshot: host copies of the state that shows which rows are done. Overwritten by the next one."""

    positions: NDArray[np.int64]  # (rows,)
    done: NDArray[np.bool_]  # (rows,)
    tokens: NDArray[np.int64]  # (rows, positions) written so far, from the first text token on


class StaticBatch:
    """Decoder state of ``rows`` chunks of ``frames`` encoder frames.

    Shapes, for H heads of size D, A alignment heads, P positions, S state:
    ``cross`` per layer (2, rows, H, frames, D), keys and values of the audio; ``cache`` per layer
    (2, rows, H, P, D), keys and values of the tokens; ``queries`` (rows, P, A, D), the alignment heads'
    queries at each position; ``first_hidden`` (rows, S), the last layer at the start of the transcript, from
    which follow the probabilities of silence and of each language.
    """

    def __init__(self, weights: DeviceWeights, rows: int, frames: int) -> None:
        self.rows, self.frames = rows, frames
        self.positions = min(MAX_POSITIONS, int(weights.dims.n_text_ctx))
        device, dtype = weights.device, weights.dtype
        heads, size, layers = weights.heads, weights.head_size, len(weights.decoder_layers)

        def zeros(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        # Zeroed once: masked places of the cache must never hold NaN.
        self.cross = [zeros(2, rows, heads, frames, size, dtype=dtype) for _ in range(layers)]
        self.cache = [zeros(2, rows, heads, self.positions, size, dtype=dtype) for _ in range(layers)]
        self.queries = zeros(rows, self.positions, weights.alignment_head_count, size, dtype=dtype)
        self.first_hidden = zeros(rows, weights.dims.n_text_state, dtype=dtype)
        # All whole numbers of a row side by side, so that filling and moving rows are few copies.
        given = min(INITIAL_TOKENS, self.positions)
        self._numbers = zeros(rows, _COLUMNS + given + self.positions)
        (self.token, self.position, self.initial_length, self.start_of_transcript, self.limit, self.keywords,
         self.bias, self.seed) = self._numbers[:, :_COLUMNS].unbind(dim=1)  # fmt: skip
        self.initial = self._numbers[:, _COLUMNS : _COLUMNS + given]
        self.tokens = self._numbers[:, _COLUMNS + given :]
        self.initial_length.fill_(1)
        self.limit.fill_(1)
        self.tokens.fill_(weights.text_tokens - 1)
        self.temperature = zeros(rows, dtype=torch.float32)
        self.done = torch.ones(rows, dtype=torch.bool, device=device)
        self.logprobs = zeros(rows, self.positions, dtype=torch.float32)
        # Constants.
        self.row_numbers = torch.arange(rows, device=device)
        self.places = torch.arange(self.positions, device=device)
        pinned = is_gpu(device)
        self._host_numbers = torch.empty(self._numbers.shape, dtype=torch.long, pin_memory=pinned)
        self._host_done = torch.empty(rows, dtype=torch.bool, pin_memory=pinned)

    @property
    def filled_numbers(self) -> int:
        """Whole numbers that a row starts with: its state, and its initial tokens padded with 0."""
        return _COLUMNS + self.initial.shape[1]

    def start(self, index: Tensor, numbers: Tensor, temperature: Tensor) -> None:
        """Start rows, (n,), from their numbers, (n, :attr:`filled_numbers`)."""
        self._numbers[index, : self.filled_numbers] = numbers
        self.temperature[index] = temperature.float()
        self.done.index_fill_(0, index, value=False)

    @torch.inference_mode()
    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Move rows to free rows."""
        old = upload(sources, torch.long, self.done.device)
        new = upload(targets, torch.long, self.done.device)
        for tensor in (*self.cross, *self.cache):
            tensor[:, new] = tensor[:, old]
        for tensor in (self.queries, self.first_hidden, self._numbers, self.temperature, self.logprobs):
            tensor[new] = tensor[old]
        self.done[new] = self.done[old]
        self.done[old] = True

    @torch.inference_mode()
    def stop(self, rows: Sequence[int]) -> None:
        """End rows immediately."""
        self.done[upload(rows, torch.long, self.done.device)] = True

    def snapshot(self, rows: int) -> Snapshot:
        """Copy positions, end flags and tokens of the first rows to the host: the only synchronisation."""
        device = self.done.device
        self._host_numbers[:rows].copy_(self._numbers[:rows], non_blocking=True)
        self._host_done[:rows].copy_(self.done[:rows], non_blocking=True)
        if is_gpu(device):
            torch.cuda.current_stream(device).synchronize()
        numbers = self._host_numbers[:rows].numpy()
        return Snapshot(numbers[:, _POSITION], self._host_done[:rows].numpy(), numbers[:, -self.positions :])


def upload(values: object, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Copy of a list or array of numbers on the device, without waiting for the device."""
    tensor = torch.as_tensor(values, dtype=dtype)
    return tensor.pin_memory().to(device, non_blocking=True) if is_gpu(device) else tensor
