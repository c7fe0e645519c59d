"""Kaldi's log mel filter bank, the input of CAM++, over a whole file on any device.

The numbers are those of ``torchaudio.compliance.kaldi.fbank`` with its defaults, 80 bands at 16 kHz.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before torchaudio
from batches.recognition.diarization.campplus import MEL_BANDS
from batches.recognition.media.decoding import SAMPLE_RATE, Samples
from batches.recognition.runtime.device import is_gpu

FRAME_SECONDS = 0.01  # between two frames
_STEP, _WIDTH = 160, 400  # samples between two frames, and of one frame
_FFT = 512
_PREEMPHASIS = 0.97
_BLOCK, _GPU_BLOCK = 8192, 32768  # frames computed at once
_LEAST_BLOCK = 256


class FilterBank:
    """(frames, 80) of samples; frame g looks at the 400 samples from 160 g.

    ``fixed_shapes`` pads the last block to the next power of two, with frames that are cut off again: on a
    GPU (its default there), the FFT is planned for every number of frames.
    """

    def __init__(self, device: torch.device, *, fixed_shapes: bool | None = None) -> None:
        from torchaudio.compliance import kaldi

        self._device = device
        self._block = _GPU_BLOCK if is_gpu(device) else _BLOCK
        self._fixed_shapes = is_gpu(device) if fixed_shapes is None else fixed_shapes
        # The Povey window: a Hann window to the power of 0.85.
        self._window = torch.hann_window(_WIDTH, periodic=False).pow(0.85).to(device)
        banks, _ = kaldi.get_mel_banks(MEL_BANDS, _FFT, SAMPLE_RATE, 20.0, 0.0, 100.0, -500.0, 1.0)
        self._banks = F.pad(banks, (0, 1)).T.contiguous().to(device)
        self._least = torch.finfo(torch.float32).eps

    @staticmethod
    def frames(samples: int) -> int:
        """Frames of that many samples."""
        return max(0, 1 + (samples - _WIDTH) // _STEP)

    @torch.inference_mode()
    def __call__(self, samples: Samples, start: int = 0, end: int | None = None) -> Tensor:
        """Frames ``start`` to ``end`` of float32 samples, (n,), at 16 kHz."""
        count = self.frames(len(samples))
        end = count if end is None else min(end, count)
        if end <= start:
            return torch.zeros((0, MEL_BANDS), device=self._device)
        cut = torch.from_numpy(samples[start * _STEP : (end - 1) * _STEP + _WIDTH]).to(self._device)
        if padding := self._padding(end - start):
            cut = F.pad(cut, (0, padding * _STEP))
        frames = cut.unfold(0, _WIDTH, _STEP)
        parts: tuple[Tensor, ...] = frames.split(self._block)  # type: ignore[no-untyped-call]
        return torch.cat([self._bands(part) for part in parts])[: end - start]

    def _padding(self, frames: int) -> int:
        """Frames to add, so that the last block has one of few sizes."""
        last = frames % self._block
        if not last or not self._fixed_shapes:
            return 0
        return max(_LEAST_BLOCK, 1 << (last - 1).bit_length()) - last

    def _bands(self, frames: Tensor) -> Tensor:
        """Log mel energies of (frames, 400) samples."""
        frames = frames - frames.mean(dim=1, keepdim=True)
        before = torch.cat([frames.narrow(1, 0, 1), frames.narrow(1, 0, _WIDTH - 1)], dim=1)
        windowed = (frames - _PREEMPHASIS * before) * self._window
        power = torch.fft.rfft(windowed, n=_FFT).abs().square()
        bands: Tensor = (power @ self._banks).clamp_(min=self._least).log_()
        return bands
