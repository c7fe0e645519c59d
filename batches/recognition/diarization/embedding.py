"""Speaker embeddings by CAM++, one for each segment of speech.

The embedding network takes most of diarization's time, so it processes at most a few seconds of each segment,
and only speech. Segments of all files share batches.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor

from batches.recognition.diarization.campplus import EMBEDDING_SIZE, MEL_BANDS, load_campplus
from batches.recognition.diarization.filter_bank import FRAME_SECONDS, FilterBank
from batches.recognition.diarization.segmentation import (
    CPU,
    SAMPLE_RATE,
    Progress,
    Samples,
    Segmentation,
)
from batches.recognition.diarization.speech_segments import LONGEST, SpeechSegments
from batches.recognition.runtime.batching import BatchKind, BatchThread, results_in_order
from batches.recognition.runtime.cuda_graphs import GraphedFunction, capture_for
from batches.recognition.runtime.device import is_gpu, release_memory
from batches.recognition.runtime.staging import StagedTensor

_FRAME_CENTRE = 0.0125  # s from the start of a filter bank frame to its middle
_ENOUGH_ALONE = 0.3  # s of speech without another speaker, below which overlapped speech is used too
_SHORTEST = 0.2  # s of speech below which a segment has no embedding
_LENGTHS = 50  # frames: lengths are multiples of it, so that kernels are planned for few shapes
_CPU_BATCH = 8  # rows; they keep the network's memory near 0.5 GB
_FIXED_BATCHES = (32, 128)  # rows of batches of fixed shape; more are not faster
# Windows whose filter banks are in memory at once, 10 and 80 minutes: 25 and 154 MB. On a GPU each stretch
# costs a pass of the network for every length.
_STRETCH, _FIXED_STRETCH = 120, 960


@dataclass(slots=True)
class SpeakerEmbeddings:
    """Embeddings of a file's segments, one row for each."""

    vectors: npt.NDArray[np.float32]  # (N, 192), of length 1; 0 where the segment is too short
    seconds: npt.NDArray[np.float32]  # (N,) of speech that the vector was made from; 0 where there is none


class SpeakerEmbedder:
    """CAM++ over the filter banks of segments. Thread-safe.

    ``batches`` is the thread that runs the network; without it the embedder has its own. ``fixed_shapes``
    pads batches to 32 or 128 rows: on a GPU (its default there) each shape is a CUDA graph.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        batches: BatchThread | None = None,
        device: torch.device = CPU,
        fixed_shapes: bool | None = None,
    ) -> None:
        self.device = device
        self._fixed_shapes = is_gpu(device) if fixed_shapes is None else fixed_shapes
        self.network = load_campplus(checkpoint).to(self.device)
        self._filter_bank = FilterBank(self.device, fixed_shapes=self._fixed_shapes)
        self._batches = batches or BatchThread("embedding")
        self._stretch = _FIXED_STRETCH if self._fixed_shapes else _STRETCH
        batch = _FIXED_BATCHES[-1] if self._fixed_shapes else _CPU_BATCH
        self._kind: BatchKind[_Input, npt.NDArray[np.float32]] = BatchKind(self._embed, batch, _Input.length)
        self._sizes: tuple[int, ...] = _FIXED_BATCHES
        frames = batch * _rounded(round(LONGEST / FRAME_SECONDS))
        self._features = torch.zeros(frames * MEL_BANDS, device=device)
        self._frames = StagedTensor(frames, device, torch.long)  # of the filter banks
        self._lengths = StagedTensor(batch, device, torch.long)  # frames of each segment
        self._graphs = GraphedFunction(self._forward_staged, lambda: capture_for(device))
        if is_gpu(device):
            self._warm_up()

    def run(
        self,
        samples: Samples,
        segmentation: Segmentation,
        segments: SpeechSegments,
        progress: Progress = lambda _share: None,
    ) -> SpeakerEmbeddings:
        """Embeddings of a whole file; only a stretch of it is in memory as filter banks."""
        count = len(segments)
        result = SpeakerEmbeddings(
            vectors=np.zeros((count, EMBEDDING_SIZE), dtype=np.float32),
            seconds=np.zeros(count, dtype=np.float32),
        )
        table = _FrameTable(segmentation)
        first = 0
        while first < count:
            beyond = int(segments.windows[first]) + self._stretch
            last = int(np.searchsorted(segments.windows, beyond, side="left"))
            chosen = table.choose(segments, range(first, last), samples.size)
            rows = [row for row, frames in chosen.items() if frames.size >= _SHORTEST / FRAME_SECONDS]
            inputs = self._inputs(samples, {row: chosen[row] for row in rows})
            futures = self._batches.submit(self._kind, inputs)
            done = first

            def share(part: float, done: int = done, size: int = last - first) -> None:
                progress((done + part * size) / count)

            for row, vector in zip(rows, results_in_order(futures, share), strict=True):
                result.vectors[row] = vector
                result.seconds[row] = chosen[row].size * FRAME_SECONDS
            first = last
        progress(1.0)
        return result

    def _inputs(self, samples: Samples, chosen: dict[int, npt.NDArray[np.int64]]) -> list[_Input]:
        """Network inputs of the segments, in their order."""
        if not chosen:
            return []
        start = min(int(frames[0]) for frames in chosen.values())
        end = max(int(frames[-1]) for frames in chosen.values()) + 1
        bank = _Bank(self._filter_bank, samples, start, end)
        return [_Input(bank, frames - start) for frames in chosen.values()]

    @torch.inference_mode()
    def _embed(self, inputs: list[_Input]) -> list[npt.NDArray[np.float32]]:
        """Unit vectors, (192,) each, for segments of one length."""
        length = _rounded(inputs[0].frames.size)
        self._stage(inputs, length)
        rows = len(inputs)
        if self._fixed_shapes:
            rows = next(size for size in self._sizes if size >= len(inputs))
        return list(self._graphs(rows, length)[: len(inputs)].cpu().numpy())

    def _stage(self, inputs: list[_Input], length: int) -> None:
        """Gather the segments' filter banks on the device.

        Segments are repeated up to the next length that is a multiple of 50 frames, which keeps their
        statistics; zeros would change them.
        """
        index = self._frames.staging(len(inputs) * length).reshape(len(inputs), length)
        sizes = self._lengths.staging(len(inputs))
        for row, each in enumerate(inputs):
            index[row] = np.resize(each.frames, length)
            sizes[row] = each.frames.size
        self._frames.upload(len(inputs) * length)
        self._lengths.upload(len(inputs))
        features = self._features.view(-1, MEL_BANDS)
        end = 0
        for bank, own in itertools.groupby(inputs, key=lambda each: each.bank):
            start, end = end, end + length * len(list(own))
            torch.index_select(bank.tensor, 0, self._frames.tensor[start:end], out=features[start:end])

    def _forward_staged(self, rows: int, length: int) -> Tensor:
        """Unit vectors of the gathered filter banks, with the mean of each segment taken off."""
        features = self._features[: rows * length * MEL_BANDS].view(rows, length, MEL_BANDS)
        sizes = self._lengths.tensor[:rows, None, None]
        own = torch.arange(length, device=self.device)[:, None] < sizes
        return self.forward(features - (features * own).sum(dim=1, keepdim=True) / sizes)

    def _warm_up(self) -> None:
        """Capture the graphs of all shapes."""
        bank = _Bank(self._filter_bank, np.zeros(SAMPLE_RATE, dtype=np.float32), 0, 1)

        def run(rows: int) -> None:
            for length in range(_rounded(round(LONGEST / FRAME_SECONDS)), 0, -_LENGTHS):
                self._embed([_Input(bank, np.zeros(length, dtype=np.int64))] * rows)

        self._sizes = self._graphs.fitting_sizes(self._sizes, run)
        self._kind = replace(self._kind, size=self._sizes[-1])
        release_memory(self.device)

    def forward(self, batch: Tensor) -> Tensor:
        """(rows, frames, 80) to (rows, 192) unit vectors, on the device."""
        return F.normalize(self.network(batch).float(), dim=1)


class _Bank:
    """Filter banks of a stretch of a file, computed when the first batch needs them, in its thread."""

    def __init__(self, filter_bank: FilterBank, samples: Samples, start: int, end: int) -> None:
        self._filter_bank, self._samples, self._span = filter_bank, samples, (start, end)

    @functools.cached_property
    def tensor(self) -> Tensor:
        """(frames, 80)"""
        return self._filter_bank(self._samples, *self._span)


@dataclass(frozen=True, slots=True, eq=False)
class _Input:
    """Network input of a segment: frames of its file's filter banks, gathered when its batch runs."""

    bank: _Bank
    frames: npt.NDArray[np.int64]

    def length(self) -> Hashable:
        return _rounded(self.frames.size)


def _rounded(frames: int) -> int:
    return -(-frames // _LENGTHS) * _LENGTHS


class _FrameTable:
    """Mapping of segments to the filter bank frames of the file.

    A window starts at a multiple of 160 samples, so that frame g of the file is frame g - start of a window.
    """

    def __init__(self, segmentation: Segmentation) -> None:
        self._segmentation = segmentation
        self._step = round(segmentation.step / FRAME_SECONDS)
        frames = segmentation.active.shape[1]
        count = FilterBank.frames(round(segmentation.window * SAMPLE_RATE))
        centres = np.arange(count) * FRAME_SECONDS + _FRAME_CENTRE
        nearest = np.rint((centres - segmentation.frame_duration / 2) / segmentation.frame_step)
        # The segmentation's frame at each filter bank frame of a window.
        self._nearest: npt.NDArray[np.int64] = np.clip(nearest.astype(np.int64), 0, max(0, frames - 1))

    def choose(self, segments: SpeechSegments, rows: range, samples: int) -> dict[int, npt.NDArray[np.int64]]:
        """By segment, the file's filter bank frames to embed: the middle of the segment."""
        total = FilterBank.frames(samples)
        chosen: dict[int, npt.NDArray[np.int64]] = {}
        for row in rows:
            start = int(segments.windows[row]) * self._step
            active = self._segmentation.active[segments.windows[row]]
            inside = np.zeros(active.shape[0], dtype=np.bool_)
            for first, last in segments.runs[row]:
                inside[first:last] = True
            nearest = self._nearest[: max(0, total - start)]
            chosen[row] = start + _middle(inside[nearest], active.sum(axis=1)[nearest] == 1)
        return chosen


def _middle(speaks: npt.NDArray[np.bool_], single: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Frames in the middle of a segment, without overlapped speech if enough other speech is left."""
    alone = speaks & single
    chosen = np.flatnonzero(alone if alone.sum() * FRAME_SECONDS >= _ENOUGH_ALONE else speaks)
    surplus = max(0, chosen.size - round(LONGEST / FRAME_SECONDS))
    return chosen[surplus // 2 : chosen.size - (surplus - surplus // 2)]
