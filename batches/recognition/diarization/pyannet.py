"""pyannote's segmentation network, PyanNet, without pyannote.

Importing pyannote.audio takes five seconds of CPU time, most of it for training code, which inference does
not need. The layers, their names and their numbers are those of
``pyannote.audio.models.segmentation.PyanNet``, so that its checkpoints load as they are; the band-pass
filters are computed once instead of at every call.
"""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from asteroid_filterbanks import ParamSincFB
from torch import Tensor, nn

_FRONT_BATCH = 64  # windows whose band-pass outputs, 5 MB each, are in memory at once
# The convolutions and poolings of its front end: kernel and stride of each.
_KERNELS = ((251, 10), (3, 3), (5, 1), (3, 3), (5, 1), (3, 3))


@dataclass(slots=True)
class Specifications:
    """Specifications that the network was trained for."""

    speakers: int  # local speakers of a window
    most_together: int  # of them in one frame
    seconds: float  # of a window


class PyanNet(nn.Module):
    """(B, 1, samples) at 16 kHz to (B, frames, sets of speakers), log-probabilities."""

    def __init__(self, *, layers: int, hidden: int, linear: int, sets: int) -> None:
        super().__init__()
        self.sincnet = nn.Module()
        self.sincnet.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        filters = nn.Module()
        filters.filterbank = ParamSincFB(
            80, 251, stride=_KERNELS[0][1], sample_rate=16_000, min_low_hz=50, min_band_hz=50
        )
        self.sincnet.conv1d = nn.ModuleList([filters, nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.sincnet.norm1d = nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)])
        self.lstm = nn.LSTM(60, hidden, layers, batch_first=True, bidirectional=True)
        sizes = [2 * hidden, linear, linear]
        self.linear = nn.ModuleList([nn.Linear(a, b) for a, b in itertools.pairwise(sizes)])
        self.classifier = nn.Linear(linear, sets)
        self._filters: Tensor | None = None

    def forward(self, waveforms: Tensor) -> Tensor:
        front: Any = self.sincnet
        if self._filters is None:
            self._filters = front.conv1d[0].filterbank.filters().detach()
        parts: tuple[Tensor, ...] = waveforms.split(_FRONT_BATCH)  # type: ignore[no-untyped-call]
        x = torch.cat([self._front_end(part, self._filters) for part in parts])
        x = self.lstm(x.transpose(1, 2))[0]
        for layer in self.linear:
            x = F.leaky_relu(layer(x))
        return F.log_softmax(self.classifier(x), dim=-1)

    def _front_end(self, waveforms: Tensor, filters: Tensor) -> Tensor:
        """(B, 1, samples) to (B, 60, frames)."""
        front: Any = self.sincnet
        x = F.conv1d(front.wav_norm1d(waveforms), filters, stride=_KERNELS[0][1]).abs()
        x = F.leaky_relu(front.norm1d[0](F.max_pool1d(x, 3)))
        for number in (1, 2):
            x = F.leaky_relu(front.norm1d[number](F.max_pool1d(front.conv1d[number](x), 3)))
        return x


def frame_count(samples: int) -> int:
    """Number of output frames for that many samples."""
    for kernel, stride in _KERNELS:
        samples = (samples - kernel) // stride + 1
    return samples


def frame_samples() -> tuple[int, int]:
    """Step and receptive field of a frame, in samples."""
    step, size = 1, 1
    for kernel, stride in _KERNELS:
        size += (kernel - 1) * step
        step *= stride
    return step, size


class _Kept:
    """Inert stand-in for pyannote's classes in a checkpoint: stores their state, runs no code."""

    def __init__(self, *_arguments: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Restricted unpickler that creates only tensors, plain values and _Kept."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict") or (
            module.startswith("torch") and name in _TORCH_NAMES
        ):
            return super().find_class(module, name)
        return _Kept


_TORCH_NAMES = {"_rebuild_tensor_v2", "FloatStorage", "HalfStorage", "LongStorage", "DoubleStorage", "Size"}


class _Pickle:
    """Restricted ``pickle_module`` for torch.load."""

    __name__ = "restricted"
    Unpickler = _Unpickler

    @staticmethod
    def load(file: Any, **options: Any) -> Any:
        return _Unpickler(file, **options).load()


def load_pyannet(checkpoint: Path) -> tuple[PyanNet, Specifications] | None:
    """Load the network and its specifications; None if the checkpoint is of another kind.

    Raises OSError, RuntimeError, ValueError, EOFError and pickle errors for a damaged file.
    """
    # `weights_only` refuses these checkpoints, which hold classes of pyannote's; _Pickle makes none of them.
    saved = torch.load(  # nosec B614
        checkpoint, map_location="cpu", weights_only=False, pickle_module=_Pickle
    )
    try:
        about = saved["pyannote.audio"]
        given = about["specifications"].state
        shape = saved["hyper_parameters"]
        if about["architecture"]["class"] != "PyanNet" or not given["powerset"]:
            return None
        network = PyanNet(
            layers=shape["lstm"]["num_layers"],
            hidden=shape["lstm"]["hidden_size"],
            linear=shape["linear"]["hidden_size"],
            sets=saved["state_dict"]["classifier.weight"].shape[0],
        )
        network.load_state_dict(saved["state_dict"])
        found = Specifications(
            len(given["classes"]), int(given["powerset_max_classes"]), float(given["duration"])
        )
    except (AttributeError, KeyError, TypeError, RuntimeError):
        return None  # pyannote may be able to load it
    return network.eval(), found
