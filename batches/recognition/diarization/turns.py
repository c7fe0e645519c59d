"""Speaker turns: reconstructs the turns of a whole file from labelled segments of overlapping windows.

This is pyannote's reconstruction (count the speakers of each frame, then take the most active ones), with
three differences: windows are weighted by a Hamming window, because segmentation is least sure at a window's
edges; a speaker counts only where most of the weight agrees; and the arithmetic is on whole arrays, which a
three-hour file needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from batches.recognition.diarization.clustering import Labels
from batches.recognition.diarization.segmentation import Segmentation, hamming, true_runs
from batches.recognition.diarization.speech_segments import SpeechSegments
from batches.recognition.transcript import SpeakerTurn

_BRIDGE = 0.3  # s: pauses of one speaker up to this length are part of the turn
_AGREEMENT = 0.6  # share of the windows' weight that must find one more speaker in a frame
_SHORTEST = 0.05  # s: shorter turns are dropped; the shortest interjections last three times as long
_BLOCK = 16_384  # frames whose speakers are ranked at once


def build_turns(segmentation: Segmentation, segments: SpeechSegments, labels: Labels) -> list[SpeakerTurn]:
    """Turns in order of start, labelled "1", "2", ... in order of first appearance."""
    speakers = int(labels.max(initial=-1)) + 1
    if not speakers:
        return []
    active = _active_speakers(segmentation, segments, labels, speakers)
    edge = (segmentation.frame_duration - segmentation.frame_step) / 2  # from a frame's centre outwards
    spans: list[tuple[float, float, int]] = []
    for speaker in range(speakers):
        stretches = [
            (start * segmentation.frame_step + edge, end * segmentation.frame_step + edge)
            for start, end in true_runs(active[:, speaker])
        ]
        spans += [(start, end, speaker) for start, end in _bridge(stretches, segmentation.duration)]
    return label_turns(spans)


def label_turns(spans: Sequence[tuple[float, float, int | str]]) -> list[SpeakerTurn]:
    """Turns in milliseconds from (start, end, speaker) in seconds. Speakers become "1", "2", ... by start."""
    names: dict[int | str, str] = {}
    turns = []
    for start, end, speaker in sorted(spans, key=lambda span: (span[0], span[1], str(span[2]))):
        name = names.setdefault(speaker, str(len(names) + 1))
        turns.append(SpeakerTurn(start=round(start * 1000), end=round(end * 1000), speaker=name))
    return turns


def _active_speakers(
    segmentation: Segmentation, segments: SpeechSegments, labels: Labels, speakers: int
) -> npt.NDArray[np.bool_]:
    """(frames of the file, speakers) whether each speaker is active."""
    windows, frames, _ = segmentation.active.shape
    total = segmentation.first_frame(windows - 1) + frames
    weight = hamming(frames)
    votes = np.zeros((total, speakers), dtype=np.float32)
    count = np.zeros(total, dtype=np.float32)
    weights = np.zeros(total, dtype=np.float32)
    for window in range(windows):
        span = slice(first := segmentation.first_frame(window), first + frames)
        weights[span] += weight
        count[span] += weight * segmentation.active[window].sum(axis=1)
        votes[span] += weight[:, None] * _speakers_of_window(segments.owner[window], labels, speakers)
    together = np.floor(count / weights + 1 - _AGREEMENT).astype(np.int64)
    active = np.zeros((total, speakers), dtype=np.bool_)
    for start in range(0, total, _BLOCK):
        block = slice(start, start + _BLOCK)
        ranks = np.argsort(np.argsort(-votes[block], axis=1, kind="stable"), axis=1, kind="stable")
        active[block] = (ranks < together[block, None]) & (votes[block] > 0)
    return active


def _speakers_of_window(owner: npt.NDArray[np.int32], labels: Labels, speakers: int) -> npt.NDArray[np.bool_]:
    """(frames, speakers) of one window, from its (frames, local speakers) numbers of segments."""
    present = np.zeros((owner.shape[0], speakers), dtype=np.bool_)
    for local in range(owner.shape[1]):
        frames = np.flatnonzero(owner[:, local] >= 0)
        speaker = labels[owner[frames, local]]
        present[frames[speaker >= 0], speaker[speaker >= 0]] = True
    return present


def _bridge(stretches: list[tuple[float, float]], duration: float) -> list[tuple[float, float]]:
    """Join stretches across short pauses, cut them at the file's end, drop those too short for speech."""
    joined: list[tuple[float, float]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] <= _BRIDGE:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return [(start, min(end, duration)) for start, end in joined if min(end, duration) - start >= _SHORTEST]
