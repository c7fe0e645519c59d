"""Speaker segmentation: local speaker activity in each ten-second window, by pyannote's segmentation model.

One pass over a file is used twice: for voice activity detection (:meth:`Segmentation.speech_regions`) and as
the first step of diarization (:mod:`batches.recognition.diarization.senko`).

Source: H. Bredin and A. Laurent, "End-to-end speaker segmentation for overlap-aware resegmentation" (2021);
A. Plaquet and H. Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization" (2023).
"""

from __future__ import annotations

import functools
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor

from batches.recognition.asr.chunks import SPEECH_MARGIN
from batches.recognition.diarization import (
    pyannet,
    torchaudio_compat,  # noqa: F401 - must be imported before pyannote
)
from batches.recognition.errors import ModelUnavailable
from batches.recognition.runtime.batching import BatchKind, BatchThread, results_in_order
from batches.recognition.runtime.cuda_graphs import GraphedFunction, capture_for
from batches.recognition.runtime.device import is_gpu, release_memory
from batches.recognition.runtime.staging import StagedTensor

SAMPLE_RATE = 16_000  # Hz, of all samples in this package

Samples = npt.NDArray[np.float32]  # (samples,) mono, -1..1, at SAMPLE_RATE
Progress = Callable[[float], None]  # called with the share that is done, 0..1
# Of one window: scores and activity, (frames, local speakers), and probability of speech, (frames,).
WindowScores = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]

CPU = torch.device("cpu")
_CPU_BATCH = 8  # windows
_FIXED_BATCHES = (32, 64, 128)  # windows in a batch of fixed shape; more are hardly faster
_SPARSE = 401  # sampling interval of the first check for digital silence: few enough to keep the GIL


@dataclass(slots=True)
class Segmentation:
    """Segmentation of a file by window. Speakers are local: speaker 0 of one window may be 1 of another.

    Window ``c`` starts at ``c * step`` seconds; its frame ``f`` is centred
    ``f * frame_step + frame_duration / 2`` seconds later. The last window may reach beyond ``duration``.
    """

    scores: npt.NDArray[np.float32]  # (windows, frames, local speakers), probability that each one speaks
    active: npt.NDArray[np.bool_]  # same shape: the speakers of the most probable set
    speech: npt.NDArray[np.float32]  # (windows, frames), probability of speech
    duration: float  # s of audio
    window: float  # s
    step: float  # s between the starts of two windows
    frame_step: float  # s between two frames
    frame_duration: float  # s of a frame's receptive field

    def first_frame(self, window: int) -> int:
        """Index, among the frames of the whole file, of the first frame of a window."""
        return round(window * self.step / self.frame_step)

    def frame_times(self, count: int) -> npt.NDArray[np.float64]:
        """Centres in seconds of the first ``count`` frames of the file. Not to be written to."""
        return _frame_times(count, self.frame_step, self.frame_duration)

    def voice_activity(self) -> npt.NDArray[np.float32]:
        """(frames of the file,) probability of speech, averaged where windows overlap.

        The average is weighted by a Hamming window, because the model is least sure at a window's edges.
        """
        windows, frames = self.speech.shape
        if not windows:
            return np.zeros(0, dtype=np.float32)
        total = self.first_frame(windows - 1) + frames
        if windows == 1:
            alone: npt.NDArray[np.float32] = self.speech[0][self.frame_times(total) < self.duration]
            return alone
        weight = hamming(frames)
        summed = np.zeros(total, dtype=np.float32)
        weights = np.zeros(total, dtype=np.float32)
        for window in range(windows):
            first = self.first_frame(window)
            summed[first : first + frames] += self.speech[window] * weight
            weights[first : first + frames] += weight
        average = summed / np.maximum(weights, 1e-12)
        return average[self.frame_times(total) < self.duration].astype(np.float32)

    def speech_regions(
        self,
        *,
        onset: float = 0.5,
        offset: float = 0.35,
        min_speech: float = 0.1,
        min_silence: float = 0.3,
        pad: float = SPEECH_MARGIN,
    ) -> list[tuple[float, float]]:
        """Speech regions as (start, end) in seconds, in order and disjoint.

        Speech starts where the probability reaches ``onset`` and lasts until it falls below ``offset``.
        Silences shorter than ``min_silence`` seconds are bridged, then speech shorter than ``min_speech`` is
        dropped, and what remains grows by ``pad`` on both sides; regions that then touch become one.
        """
        activity = self.voice_activity()
        if not activity.size:
            return []
        centres = self.frame_times(activity.size)
        half = self.frame_step / 2
        regions = [
            (max(0.0, float(centres[first]) - half), min(self.duration, float(centres[last]) + half))
            for first, last in hysteresis(activity, onset, offset)
        ]
        regions = [(start, end) for start, end in merge(regions, min_silence) if end - start >= min_speech]
        padded = [(max(0.0, start - pad), min(self.duration, end + pad)) for start, end in regions]
        return merge(padded, 0.0)


@functools.lru_cache(maxsize=8)
def _frame_times(count: int, step: float, size: float) -> npt.NDArray[np.float64]:
    return np.arange(count, dtype=np.float64) * step + size / 2


@functools.cache
def hamming(frames: int) -> npt.NDArray[np.float32]:
    """(frames,) weights of a window's frames, the least at its edges. Not to be written to."""
    return np.hamming(frames).astype(np.float32)


def hysteresis(activity: npt.NDArray[np.floating], onset: float, offset: float) -> list[tuple[int, int]]:
    """Runs (first, last), both inclusive, that contain a value >= onset and stay >= offset throughout.

    A run starts at its first value >= onset. ``offset`` above ``onset`` is treated as equal to it.
    """
    runs = []
    for start, end in true_runs(activity >= min(onset, offset)):
        sure = np.flatnonzero(activity[start:end] >= onset)
        if sure.size:
            runs.append((int(start + sure[0]), end - 1))
    return runs


def true_runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open stretches (first, past the last) in which a one-dimensional mask is true."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    return [(int(start), int(end)) for start, end in zip(starts, ends, strict=True)]


def merge(regions: list[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Join regions, given in order, that are at most ``gap`` seconds apart."""
    merged: list[tuple[float, float]] = []
    for start, end in regions:
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def load_segmentation_model(checkpoint: Path) -> Any:
    """pyannote's segmentation model (a pyannote.audio.Model) in evaluation mode.

    It is typed as Any because pyannote's annotations leave its attributes open. Raises ModelUnavailable
    where the checkpoint does not load.
    """
    from pyannote.audio import Model

    model: Any
    if not checkpoint.is_file():  # pyannote would look for the name on Hugging Face
        raise ModelUnavailable(f"There is no segmentation model {checkpoint.name}.")
    try:
        model = Model.from_pretrained(checkpoint)
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, pickle.PickleError) as error:
        raise ModelUnavailable(f"The segmentation model {checkpoint.name} cannot be read: {error}") from error
    if model is None or not model.specifications.powerset:
        raise ModelUnavailable(f"{checkpoint.name} is not a pyannote powerset segmentation model.")
    model.eval()
    return model


def _load_network(checkpoint: Path) -> tuple[torch.nn.Module, pyannet.Specifications]:
    """Load PyanNet directly, or other networks through pyannote."""
    try:
        if checkpoint.is_file() and (found := pyannet.load_pyannet(checkpoint)):
            return found
    except (OSError, RuntimeError, LookupError, ValueError, EOFError, pickle.PickleError) as error:
        raise ModelUnavailable(f"The segmentation model {checkpoint.name} cannot be read: {error}") from error
    model = load_segmentation_model(checkpoint)
    given = model.specifications
    step, size = pyannet.frame_samples()
    if (model.receptive_field.step, model.receptive_field.duration) != (
        step / SAMPLE_RATE,
        size / SAMPLE_RATE,
    ):
        raise ModelUnavailable(f"The frames of {checkpoint.name} are not those of pyannote's segmentation.")
    return model, pyannet.Specifications(len(given.classes), given.powerset_max_classes, given.duration)


def _speaker_sets(specifications: pyannet.Specifications) -> torch.Tensor:
    """(sets, speakers) membership matrix of the powerset: empty, single speakers, pairs, ..."""
    speakers = range(specifications.speakers)
    sets = [
        chosen
        for count in range(specifications.most_together + 1)
        for chosen in itertools.combinations(speakers, count)
    ]
    return torch.tensor([[float(speaker in chosen) for speaker in speakers] for chosen in sets])


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Window of a file that starts at sample ``start``; it may reach beyond the file's end."""

    samples: Samples  # of the whole file
    start: int


class Segmenter:
    """Sliding-window inference of pyannote's segmentation model; all files share batches. Thread-safe.

    ``step`` is the share of a window between two windows: 0.5 costs a fifth of pyannote's own 0.1.
    ``batches`` is the thread that runs the model; without it the segmenter has its own. ``fixed_shapes``
    pads batches to 32, 64 or 128 windows: on a GPU (its default there) each of them is a CUDA graph.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        batches: BatchThread | None = None,
        step: float = 0.5,
        batch_size: int = 0,
        device: torch.device = CPU,
        fixed_shapes: bool | None = None,
    ) -> None:
        if not 0 < step <= 1:
            raise ValueError(f"step must be in (0, 1], not {step}")
        self.device = device
        self._fixed_shapes = is_gpu(device) if fixed_shapes is None else fixed_shapes
        self.network, self.specifications = _load_network(checkpoint)
        self.network.to(self.device)
        self.sets = _speaker_sets(self.specifications).to(self.device)
        self.window_samples: int = round(self.specifications.seconds * SAMPLE_RATE)
        self.step_samples: int = round(step * self.window_samples)
        self.frame_count: int = pyannet.frame_count(self.window_samples)
        self._batches = batches or BatchThread("segmentation")
        self._kind: BatchKind[_Window, WindowScores] = BatchKind(
            self._run_batch, batch_size or (_FIXED_BATCHES[-1] if self._fixed_shapes else _CPU_BATCH)
        )
        self._sizes: tuple[int, ...] = _FIXED_BATCHES
        graphed = isinstance(self.network, pyannet.PyanNet)
        self._graphs = GraphedFunction(self._forward_staged, lambda: capture_for(device) if graphed else None)

    @functools.cached_property
    def _sound(self) -> StagedTensor:
        return StagedTensor(self._kind.size * self.window_samples, self.device)

    @functools.cached_property
    def _starts(self) -> StagedTensor:
        """First samples of the windows within the sound."""
        return StagedTensor(self._kind.size, self.device, torch.long)

    def warm_up(self) -> None:
        """Capture the graphs, which the first files would wait for. Does nothing on a CPU."""
        if is_gpu(self.device):
            silence = _Window(np.zeros(1, dtype=np.float32), 0)
            self._sizes = self._graphs.fitting_sizes(
                self._sizes, lambda size: self._run_batch([silence] * size)
            )
            self._kind = replace(self._kind, size=self._sizes[-1])
            release_memory(self.device)

    def run(self, samples: Samples, progress: Progress = lambda _share: None) -> Segmentation:
        """Segment a whole file. The result takes 76 KB a minute.

        ``samples`` are float32, mono, 16 kHz. ``progress`` is called with the share that is done.
        """
        if samples.ndim != 1:
            raise ValueError(f"samples must be mono, not of shape {samples.shape}")
        count = self._count_windows(samples.size)
        result = self._empty(count, samples.size)
        # Digital silence stays at zero without the model: muted channels cost nothing.
        chosen = [window for window in range(count) if self._has_sound(samples, window)]
        windows = [_Window(samples, window * self.step_samples) for window in chosen]
        at_once = 4 * self._kind.size
        for first in range(0, len(chosen), at_once):
            part = chosen[first : first + at_once]
            share = functools.partial(_share_of, progress, first, len(part), len(chosen))
            futures = self._batches.submit(self._kind, windows[first : first + at_once])
            for window, found in zip(part, results_in_order(futures, share), strict=True):
                result.scores[window], result.active[window], result.speech[window] = found
        progress(1.0)
        return result

    def _empty(self, windows: int, samples: int) -> Segmentation:
        speakers = self.specifications.speakers
        frame_step, frame_size = pyannet.frame_samples()
        return Segmentation(
            scores=np.zeros((windows, self.frame_count, speakers), dtype=np.float32),
            active=np.zeros((windows, self.frame_count, speakers), dtype=np.bool_),
            speech=np.zeros((windows, self.frame_count), dtype=np.float32),
            duration=samples / SAMPLE_RATE,
            window=self.window_samples / SAMPLE_RATE,
            step=self.step_samples / SAMPLE_RATE,
            frame_step=frame_step / SAMPLE_RATE,
            frame_duration=frame_size / SAMPLE_RATE,
        )

    def _count_windows(self, samples: int) -> int:
        if not samples:
            return 0
        return 1 + max(0, -(-(samples - self.window_samples) // self.step_samples))

    def _has_sound(self, samples: Samples, window: int) -> bool:
        cut = samples[window * self.step_samples :][: self.window_samples]
        return bool(cut[::_SPARSE].any() or cut.any())

    @torch.inference_mode()
    def _run_batch(self, windows: list[_Window]) -> list[WindowScores]:
        if self._fixed_shapes:
            self._stage(windows)
            rows = next((size for size in self._sizes if size >= len(windows)), len(windows))
            found = self._graphs(rows)
        else:
            batch = np.zeros((len(windows), self.window_samples), dtype=np.float32)
            for row, window in zip(batch, windows, strict=True):
                self._read(window, row)
            found = self.forward(torch.from_numpy(batch).to(self.device))
        scores, active, speech = (part[: len(windows)].cpu().numpy() for part in found)
        return [(scores[row], active[row], speech[row]) for row in range(len(windows))]

    def _read(self, window: _Window, target: Samples) -> None:
        """Copy the samples from the window's start on into ``target``, and zeros beyond the file's end."""
        part = window.samples[window.start : window.start + len(target)]
        target[: len(part)] = part
        target[len(part) :] = 0.0

    def _stage(self, windows: list[_Window]) -> None:
        """Upload the windows' sound, once where they overlap, with their places in it."""
        sound = self._sound.staging(self._sound.size)
        starts = self._starts.staging(len(windows))
        end = 0
        before: _Window | None = None
        for number, window in enumerate(windows):
            follows = (
                before is not None
                and window.samples is before.samples
                and window.start == before.start + self.step_samples
            )
            new = self.step_samples if follows else self.window_samples
            later = _Window(window.samples, window.start + self.window_samples - new)
            self._read(later, sound[end : end + new])
            end += new
            starts[number] = end - self.window_samples
            before = window
        self._sound.upload(end)
        self._starts.upload(len(windows))

    def _forward_staged(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        sound, width = self._sound.tensor, self.window_samples
        windows = sound.as_strided((len(sound) - width + 1, width), (1, 1))
        return self.forward(windows[self._starts.tensor[:rows]])

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(windows, samples) to scores, activity and probability of speech, all on the device."""
        log_probabilities = self.network(batch.unsqueeze(1))
        probabilities = log_probabilities.exp()
        active = F.embedding(log_probabilities.argmax(dim=-1), self.sets) > 0
        # The first set of the powerset is the empty one: no speech.
        return probabilities @ self.sets, active, 1.0 - probabilities.select(-1, 0)


def _share_of(progress: Progress, done: int, part: int, total: int, share: float) -> None:
    progress((done + share * part) / total)
