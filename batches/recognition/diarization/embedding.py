"""One voice print for each piece of speech, by CAM++.

The embedding network is most of what speaker separation costs, so it hears at most a few seconds of each
piece, and only speech.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from batches.recognition.diarization import torchaudio_compat  # noqa: F401 - must be imported before torchaudio
from batches.recognition.diarization.campplus import EMBEDDING_SIZE, MEL_BANDS, load_campplus
from batches.recognition.diarization.segmentation import SAMPLE_RATE, Progress, Samples, Segmentation
from batches.recognition.diarization.speech_segments import LONGEST, SpeechSegments

_FRAME_SECONDS = 0.01  # between two frames of the filter bank
_FRAME_CENTRE = 0.0125  # s from the start of a filter bank frame to its middle
_ENOUGH_ALONE = 0.3  # s of speech without anybody else, below which overlapped speech is used too
_SHORTEST = 0.2  # s of speech below which there is no voice print
_LENGTHS = 50  # frames: lengths are multiples of it, so that oneDNN keeps ten kernels, not hundreds


@dataclass(slots=True)
class SpeakerEmbeddings:
    """One row for each piece."""

    vectors: npt.NDArray[np.float32]  # (N, 192), of length 1; 0 where the piece is too short
    seconds: npt.NDArray[np.float32]  # (N,) of speech that the vector was made from; 0 where there is none


class SpeakerEmbedder:
    """CAM++ over the filter banks of pieces. Batches of 8 keep its memory near 0.5 GB."""

    def __init__(
        self, checkpoint: Path, *, threads: int = 1, batch_size: int = 8, device: str = "cpu"
    ) -> None:
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.network = load_campplus(checkpoint).to(self.device)
        self.batch_size = batch_size

    def run(
        self,
        samples: Samples,
        segmentation: Segmentation,
        pieces: SpeechSegments,
        progress: Progress | None = None,
    ) -> SpeakerEmbeddings:
        """Voice prints of a whole file; only a stretch of it is in memory as filter banks."""
        prints = SpeakerEmbeddings(
            vectors=np.zeros((len(pieces), EMBEDDING_SIZE), dtype=np.float32),
            seconds=np.zeros(len(pieces), dtype=np.float32),
        )
        # Segments are sorted by length inside a stretch of the file, so that few frames have to be repeated.
        stretch = 8 * self.batch_size
        for first in range(0, len(pieces), stretch):
            last = min(len(pieces), first + stretch)
            heard = self._hear(samples, segmentation, pieces, range(first, last))
            heard.sort(key=lambda item: item[1].shape[0])
            for start in range(0, len(heard), self.batch_size):
                batch = heard[start : start + self.batch_size]
                rows = [piece for piece, _ in batch]
                prints.vectors[rows] = self._embed([features for _, features in batch])
                prints.seconds[rows] = [features.shape[0] * _FRAME_SECONDS for _, features in batch]
            if progress is not None:
                progress(last / len(pieces))
        return prints

    def _hear(
        self, samples: Samples, segmentation: Segmentation, pieces: SpeechSegments, chosen: range
    ) -> list[tuple[int, torch.Tensor]]:
        """(piece, its filter bank frames with their mean taken off), without pieces that are too short."""
        heard = []
        bank_window, bank = -1, torch.zeros((0, MEL_BANDS))
        for piece in chosen:
            window = int(pieces.windows[piece])
            if window != bank_window:
                bank_window, bank = window, filter_bank(_cut(samples, segmentation, window))
            frames = _choose_frames(segmentation, window, pieces.runs[piece], bank.shape[0])
            if frames.size >= _SHORTEST / _FRAME_SECONDS:
                features = bank[torch.from_numpy(frames)]
                heard.append((piece, features - features.mean(dim=0)))
        return heard

    def _embed(self, features: list[torch.Tensor]) -> npt.NDArray[np.float32]:
        """Unit vectors for filter banks of different lengths.

        Shorter ones are repeated up to the longest, which keeps their statistics; zeros would change them.
        """
        longest = -(-max(item.shape[0] for item in features) // _LENGTHS) * _LENGTHS
        batch = torch.stack([item.repeat(-(-longest // item.shape[0]), 1)[:longest] for item in features])
        with torch.inference_mode():
            vectors = self.network(batch.to(self.device))
            normalised = torch.nn.functional.normalize(vectors.float(), dim=1).cpu()
        result: npt.NDArray[np.float32] = normalised.numpy()
        return result


def filter_bank(samples: Samples) -> torch.Tensor:
    """(frames, 80) log mel filter bank as Kaldi computes it, 25 ms every 10 ms: what CAM++ was trained on."""
    from torchaudio.compliance import kaldi

    if samples.size < SAMPLE_RATE // 40:
        return torch.zeros((0, MEL_BANDS))
    bank: torch.Tensor = kaldi.fbank(
        torch.from_numpy(samples)[None], num_mel_bins=MEL_BANDS, sample_frequency=SAMPLE_RATE
    )
    return bank


def _choose_frames(
    segmentation: Segmentation, window: int, runs: list[tuple[int, int]], count: int
) -> npt.NDArray[np.int64]:
    """Which of the window's ``count`` filter bank frames to listen to: the middle of the piece."""
    active = segmentation.active[window]
    inside = np.zeros(active.shape[0], dtype=np.bool_)
    for start, end in runs:
        inside[start:end] = True
    centres = np.arange(count) * _FRAME_SECONDS + _FRAME_CENTRE
    nearest = np.rint((centres - segmentation.frame_duration / 2) / segmentation.frame_step)
    frames = np.clip(nearest.astype(np.int64), 0, active.shape[0] - 1)
    speaks = inside[frames]
    alone = speaks & (active[frames].sum(axis=1) == 1)
    chosen = np.flatnonzero(alone if alone.sum() * _FRAME_SECONDS >= _ENOUGH_ALONE else speaks)
    surplus = max(0, chosen.size - round(LONGEST / _FRAME_SECONDS))
    return chosen[surplus // 2 : chosen.size - (surplus - surplus // 2)]


def _cut(samples: Samples, segmentation: Segmentation, window: int) -> Samples:
    start = round(window * segmentation.step * SAMPLE_RATE)
    return samples[start : start + round(segmentation.window * SAMPLE_RATE)]
