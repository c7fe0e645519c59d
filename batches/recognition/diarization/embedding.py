"""Speaker embeddings by CAM++, one for each segment of speech.

The embedding network takes most of diarization's time, so it processes at most a few seconds of each segment,
and only speech. Segments of all files share batches.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
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
from batches.recognition.runtime.device import is_gpu

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
    pads batches to 32 or 128 rows: on a GPU (its default there) every new shape costs planning.
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
        self._bank = FilterBank(self.device)
        self._batches = batches or BatchThread("embedding")
        self._stretch = _FIXED_STRETCH if self._fixed_shapes else _STRETCH
        self._kind: BatchKind[_Input, npt.NDArray[np.float32]] = BatchKind(
            self._embed, _FIXED_BATCHES[-1] if self._fixed_shapes else _CPU_BATCH, _Input.length
        )
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
        bank = self._bank(samples, start, end)
        return [_Input(bank, frames - start) for frames in chosen.values()]

    @torch.inference_mode()
    def _embed(self, inputs: list[_Input]) -> list[npt.NDArray[np.float32]]:
        """Unit vectors, (192,) each, for segments of one length."""
        banks = {id(each.bank): each.bank for each in inputs}
        places = [
            [place for place, each in enumerate(inputs) if each.bank is bank] for bank in banks.values()
        ]
        parts = [
            self._features(bank, [inputs[place].frames for place in own])
            for bank, own in zip(banks.values(), places, strict=True)
        ]
        batch = torch.cat(parts)
        if self._fixed_shapes:
            rows = next(size for size in _FIXED_BATCHES if size >= len(inputs))
            batch = F.pad(batch, (0, 0, 0, 0, 0, rows - len(inputs)))
        vectors = self.forward(batch)[: len(inputs)].cpu().numpy()
        order = np.argsort([place for own in places for place in own])  # the inputs' order again
        return list(vectors[order])

    def _features(self, bank: Tensor, chosen: list[npt.NDArray[np.int64]]) -> Tensor:
        """(segments, frames, 80) filter banks of segments of one length, with their mean taken off.

        Segments are repeated up to the next length that is a multiple of 50 frames, which keeps their
        statistics; zeros would change them.
        """
        length = _rounded(chosen[0].size)
        index = torch.from_numpy(np.stack([np.resize(frames, length) for frames in chosen]))
        features = bank[index.to(self.device)]
        sizes = torch.tensor([frames.size for frames in chosen]).to(self.device)[:, None, None]
        own = torch.arange(length, device=self.device)[:, None] < sizes
        return features - (features * own).sum(dim=1, keepdim=True) / sizes

    def _warm_up(self) -> None:
        """Plan the kernels for all shapes."""
        bank = torch.zeros(1, MEL_BANDS, device=self.device)
        for length in range(_LENGTHS, round(LONGEST / FRAME_SECONDS) + 1, _LENGTHS):
            frames = np.zeros(length, dtype=np.int64)
            for rows in _FIXED_BATCHES:
                self._embed([_Input(bank, frames)] * rows)

    def forward(self, batch: Tensor) -> Tensor:
        """(rows, frames, 80) to (rows, 192) unit vectors, on the device."""
        return F.normalize(self.network(batch).float(), dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Input:
    """Network input of a segment: frames of its file's filter banks, gathered when its batch runs."""

    bank: Tensor  # (frames, 80)
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
