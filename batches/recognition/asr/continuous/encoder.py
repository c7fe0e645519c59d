"""`Encoder`: Whisper's log-mel front end and encoder, batched on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor
from whisper.audio import HOP_LENGTH, N_FFT, mel_filters

from batches.recognition.asr.continuous.weights import DeviceWeights
from batches.recognition.media.decoding import Samples
from batches.recognition.runtime.cuda_graphs import Capture, GraphedFunction
from batches.recognition.runtime.device import is_gpu
from batches.recognition.runtime.staging import StagedTensor

SAMPLES_PER_FRAME = 2 * HOP_LENGTH  # one encoder frame is two mel frames
_GPU_BATCHES = (4, 8, 16, 24, 32, 48, 64)  # chunks; each size is a graph
_DYNAMIC_RANGE = 8.0  # log10 units below a row's maximum that are kept


class Encoder:
    """Encoder of a batch of chunks, with one context length for all. Not thread-safe.

    Each size of batch is one CUDA graph; the samples are written into static memory.
    """

    def __init__(
        self, weights: DeviceWeights, new_capture: Callable[[], Capture | None] = lambda: None
    ) -> None:
        self._weights = weights
        self._window = torch.hann_window(N_FFT, device=weights.device)
        self._filters = mel_filters(weights.device, weights.dims.n_mels).float()  # (mels, N_FFT // 2 + 1)
        self._samples = StagedTensor(0, weights.device)
        self._reserved = 0  # samples
        self._silence = torch.zeros(0)
        self._graphs = GraphedFunction(self._encode, new_capture)

    @torch.inference_mode()
    def __call__(self, chunks: Sequence[Samples], frames: int) -> Tensor:
        """(chunks, frames, state) for chunks of (n,) float32 at 16 kHz; sound beyond the context is cut.

        The next call overwrites the result.
        """
        rows, size = self._rows(len(chunks)), frames * SAMPLES_PER_FRAME
        self.reserve(len(chunks), frames)
        self._allocate()
        parts = [part for samples in chunks for part in self._padded(samples, size)]
        # One call of torch: each copy by itself would give up the GIL, and wait for it.
        torch.cat(parts, out=torch.from_numpy(self._samples.staging(len(chunks) * size)))
        self._samples.upload(len(chunks) * size)
        return self._graphs(rows, frames)[: len(chunks)]

    def _padded(self, samples: Samples, size: int) -> tuple[Tensor, Tensor]:
        """Samples, and the silence up to ``size``."""
        if len(self._silence) < size:
            self._silence = torch.zeros(size)
        return torch.from_numpy(samples[:size]), self._silence[: max(0, size - len(samples))]

    def warm_up(self, frames: int, most: int) -> None:
        """Capture the graphs for batches of up to ``most`` chunks, which takes some 0.1 s for each size."""
        sizes = [size for size in self._sizes if size <= self._rows(most)]
        silence = np.zeros(SAMPLES_PER_FRAME, dtype=np.float32)
        for size in reversed(sizes):  # the largest first: the others fit into its memory
            self([silence] * size, frames)

    def release(self) -> None:
        """Free the memory of graphs and samples; the next call allocates the reserved size again."""
        self._graphs.clear()
        self._samples = StagedTensor(0, self._weights.device)

    def reserve(self, chunks: int, frames: int) -> None:
        """Make the next call allocate memory for the samples of so many chunks, if it has less.

        That invalidates all graphs: reserve the largest batch first.
        """
        self._reserved = max(self._reserved, self._rows(chunks) * frames * SAMPLES_PER_FRAME)

    def _allocate(self) -> None:
        if self._reserved > self._samples.size:
            self._graphs.clear()  # they read from the memory that is replaced here
            self._samples = StagedTensor(self._reserved, self._weights.device)

    @property
    def _sizes(self) -> tuple[int, ...]:
        return _GPU_BATCHES if is_gpu(self._weights.device) else ()

    def full(self, chunks: int) -> int:
        """Largest number of the chunks that fills a batch without padding; all if there are too few."""
        return max((size for size in self._sizes if size <= chunks), default=chunks)

    def _rows(self, chunks: int) -> int:
        """Rows of the batch for so many chunks."""
        return next((size for size in self._sizes if size >= chunks), chunks)

    def _encode(self, rows: int, frames: int) -> Tensor:
        size = frames * SAMPLES_PER_FRAME
        return self.encode(self.log_mel(self._samples.tensor[: rows * size].view(rows, size)))

    def log_mel(self, samples: Tensor) -> Tensor:
        """Whisper's log-mel spectrograms, (rows, mels, n / 160), of (rows, n) samples.

        openai-whisper's own function takes one maximum over the whole batch; here each row has its own.
        """
        spectrum = torch.stft(samples, N_FFT, HOP_LENGTH, window=self._window, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        mel = (self._filters @ power).clamp_(min=1e-10).log10_()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - _DYNAMIC_RANGE)
        return (mel + 4.0) / 4.0

    def encode(self, mel: Tensor) -> Tensor:
        """(rows, mels, 2 * frames) to (rows, frames, state)."""
        weights = self._weights
        x = mel.to(weights.dtype)
        for stride, (weight, bias) in enumerate(weights.convolutions, 1):
            x = F.gelu(F.conv1d(x, weight, bias, stride=stride, padding=1))
        x = (x.transpose(1, 2) + weights.encoder_positions[: x.shape[2]]).contiguous()
        rows, frames, state = x.shape
        heads = weights.dims.n_audio_head
        for layer in weights.encoder_layers:
            qkv = F.linear(F.layer_norm(x, *layer.attention_norm), *layer.qkv)
            query, key, value = qkv.view(rows, frames, 3, heads, state // heads).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
            x = x + F.linear(attended.reshape(rows, frames, state), *layer.out)
            hidden = F.gelu(F.linear(F.layer_norm(x, *layer.mlp_norm), *layer.up))
            x = x + F.linear(hidden, *layer.down)
        return F.layer_norm(x, *weights.encoder_norm)
