"""From labelled pieces of overlapping windows to the turns of people over the whole file.

This is pyannote's reconstruction (count how many people speak in each frame, then take the most active ones),
with two differences: votes are weighted by a Hamming window, so that of two windows the one that sees a
moment in its middle wins, and the arithmetic is on whole arrays, which a three-hour file needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from batches.recognition.diarization.clustering import Labels
from batches.recognition.diarization.segmentation import Segmentation, true_runs
from batches.recognition.diarization.speech_segments import SpeechSegments
from batches.recognition.transcript import SpeakerTurn

_BRIDGE = 0.2  # s: one person's pauses up to this length are part of the turn
_SHORTEST = 0.05  # s: anything shorter is no turn; the shortest interjections last three times as long
_BLOCK = 16_384  # frames whose speakers are ranked at once


def build_turns(segmentation: Segmentation, pieces: SpeechSegments, labels: Labels) -> list[SpeakerTurn]:
    """Turns in order of start, labelled "1", "2", ... in order of first appearance."""
    people = int(labels.max(initial=-1)) + 1
    if not people:
        return []
    heard = _who_is_heard(segmentation, pieces, labels, people)
    edge = (segmentation.frame_duration - segmentation.frame_step) / 2  # from a frame's centre outwards
    spans: list[tuple[float, float, int]] = []
    for person in range(people):
        stretches = [
            (start * segmentation.frame_step + edge, end * segmentation.frame_step + edge)
            for start, end in true_runs(heard[:, person])
        ]
        spans += [(start, end, person) for start, end in _bridge(stretches, segmentation.duration)]
    return label_turns(spans)


def label_turns(spans: Sequence[tuple[float, float, int | str]]) -> list[SpeakerTurn]:
    """Turns in milliseconds from (start, end, whatever names a person) in seconds."""
    names: dict[int | str, str] = {}
    turns = []
    for start, end, person in sorted(spans, key=lambda span: (span[0], span[1], str(span[2]))):
        name = names.setdefault(person, str(len(names) + 1))
        turns.append(SpeakerTurn(start=round(start * 1000), end=round(end * 1000), speaker=name))
    return turns


def _who_is_heard(
    segmentation: Segmentation, pieces: SpeechSegments, labels: Labels, people: int
) -> npt.NDArray[np.bool_]:
    """(frames of the file, people) who speaks when."""
    windows, frames, _ = segmentation.active.shape
    total = segmentation.first_frame(windows - 1) + frames
    weight = np.hamming(frames).astype(np.float32)
    votes = np.zeros((total, people), dtype=np.float32)
    count = np.zeros(total, dtype=np.float32)
    weights = np.zeros(total, dtype=np.float32)
    for window in range(windows):
        span = slice(first := segmentation.first_frame(window), first + frames)
        weights[span] += weight
        count[span] += weight * segmentation.active[window].sum(axis=1)
        votes[span] += weight[:, None] * _people_of_window(pieces.owner[window], labels, people)
    together = np.rint(count / weights).astype(np.int64)
    heard = np.zeros((total, people), dtype=np.bool_)
    for start in range(0, total, _BLOCK):
        block = slice(start, start + _BLOCK)
        ranks = np.argsort(np.argsort(-votes[block], axis=1, kind="stable"), axis=1, kind="stable")
        heard[block] = (ranks < together[block, None]) & (votes[block] > 0)
    return heard


def _people_of_window(owner: npt.NDArray[np.int32], labels: Labels, people: int) -> npt.NDArray[np.bool_]:
    """(frames, people) from the (frames, local speakers) numbers of pieces."""
    present = np.zeros((owner.shape[0], people), dtype=np.bool_)
    for speaker in range(owner.shape[1]):
        frames = np.flatnonzero(owner[:, speaker] >= 0)
        person = labels[owner[frames, speaker]]
        present[frames[person >= 0], person[person >= 0]] = True
    return present


def _bridge(stretches: list[tuple[float, float]], duration: float) -> list[tuple[float, float]]:
    """Join what short pauses part, cut what reaches beyond the file, drop what is too short to be speech."""
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] <= _BRIDGE:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [(start, min(end, duration)) for start, end in joined if min(end, duration) - start >= _SHORTEST]
