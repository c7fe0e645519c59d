"""Speech segments: splits the speech of each window into segments of one speaker.

pyannote embeds whole local speakers, so a window in which the segmentation model merged two people cannot be
corrected. Splitting each local speaker's speech at its pauses, and embedding the segments, lets clustering
separate them; it costs no more, since each frame is embedded in one window only.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batches.recognition.diarization.segmentation import Segmentation, true_runs

# Seconds. With perfect clustering, shortest pieces of 1 s gave the same error as 0.5 s, and 2 s more.
SHORTEST = 1.0  # a piece shorter than this goes on, if it can
LONGEST = 4.0  # a piece longer than this is cut even without a pause
PAUSE = 0.2  # silence at which a piece may end
JOIN = 1.0  # a short remainder joins the piece before it across a silence of up to this

Run = tuple[int, int]  # half-open stretch of frames of one window


@dataclass(slots=True)
class SpeechSegments:
    """N segments of speech, in order of window, local speaker and time."""

    windows: npt.NDArray[np.int64]  # (N,)
    speakers: npt.NDArray[np.int64]  # (N,) local speaker in that window
    runs: list[list[Run]]  # N times: the frames of the window that the piece is made of
    # (windows, frames, local speakers): the piece that each active frame belongs to, -1 where silent
    owner: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.runs)


def cut_segments(segmentation: Segmentation) -> SpeechSegments:
    """Split the speech of a whole file into segments."""
    windows: list[int] = []
    speakers: list[int] = []
    runs: list[list[Run]] = []
    owner = np.full(segmentation.active.shape, -1, dtype=np.int32)
    for window, speaker in np.argwhere(segmentation.active.any(axis=1)).tolist():
        pieces = _cut_speaker(segmentation, window, speaker)
        active = np.flatnonzero(segmentation.active[window, :, speaker])
        owner[window, active, speaker] = len(runs) + _nearest_piece(active, pieces)
        windows += [window] * len(pieces)
        speakers += [speaker] * len(pieces)
        runs += pieces
    return SpeechSegments(np.array(windows, dtype=np.int64), np.array(speakers, dtype=np.int64), runs, owner)


def _cut_speaker(segmentation: Segmentation, window: int, speaker: int) -> list[list[Run]]:
    step = segmentation.frame_step
    longest = round(LONGEST / step)
    runs = [
        part
        for run in true_runs(_owned_speech(segmentation, window, speaker))
        for part in _split(run, longest)
    ]
    return group_runs(
        runs,
        shortest=round(SHORTEST / step),
        longest=longest,
        pause=round(PAUSE / step),
        join=round(JOIN / step),
    )


def _owned_speech(segmentation: Segmentation, window: int, speaker: int) -> npt.NDArray[np.bool_]:
    """(frames,) activity of the local speaker in the middle of the window, which no other window covers.

    For a speaker with too little speech there, activity in the whole window.
    """
    windows, frames, _ = segmentation.active.shape
    active = segmentation.active[window]
    edge = int((segmentation.window - segmentation.step) / 2 / segmentation.frame_step)
    whole: npt.NDArray[np.bool_] = active[:, speaker]
    owned = whole.copy()
    if window > 0:
        owned[:edge] = False
    if window < windows - 1:
        owned[frames - edge :] = False
    alone = owned & (active.sum(axis=1) == 1)
    return owned if alone.sum() * segmentation.frame_step >= SHORTEST else whole


def _split(run: Run, longest: int) -> list[Run]:
    """Equal parts of a run, none longer than ``longest`` frames."""
    start, end = run
    edges = np.linspace(start, end, -(-(end - start) // longest) + 1).astype(int).tolist()
    return list(itertools.pairwise(edges))


def group_runs(runs: list[Run], *, shortest: int, longest: int, pause: int, join: int) -> list[list[Run]]:
    """Gather runs, in order, into pieces of ``shortest`` to ``longest`` frames that end at pauses.

    A piece that is long enough ends where a pause, or a cut inside continuous speech, follows, or where the
    next run would make it too long. A short remainder joins the piece before it if that is near.
    """
    pieces: list[list[Run]] = []
    piece: list[Run] = []
    length = 0
    for start, end in runs:
        if piece and length >= shortest:
            gap = start - piece[-1][1]
            if gap >= pause or gap == 0 or length + end - start > longest:
                pieces.append(piece)
                piece, length = [], 0
        piece.append((start, end))
        length += end - start
    if pieces and length < shortest and piece and piece[0][0] - pieces[-1][-1][1] < join:
        pieces[-1] += piece
    elif piece:
        pieces.append(piece)
    return pieces


def _nearest_piece(frames: npt.NDArray[np.int64], pieces: list[list[Run]]) -> npt.NDArray[np.int64]:
    """For each frame, the index of the piece that holds it or else is nearest in time."""
    held = np.concatenate([np.arange(start, end) for piece in pieces for start, end in piece])
    index = np.concatenate(
        [np.full(end - start, number) for number, piece in enumerate(pieces) for start, end in piece]
    )
    after = np.minimum(np.searchsorted(held, frames), held.size - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.where(np.abs(held[after] - frames) <= np.abs(held[before] - frames), after, before)
    nearest: npt.NDArray[np.int64] = index[nearer]
    return nearest
