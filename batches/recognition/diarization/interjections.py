"""Interjections: reassigns a word or two by another speaker within one speaker's segment.

A segment collects adjacent runs until it is long enough for a reliable embedding, so that half a second by
another speaker is absorbed by its surroundings. After clustering, each short run with a pause on either side
is embedded by itself, and assigned to another speaker if the embedding is clearly more similar to that one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from batches.recognition.diarization.clustering import Labels, centroids
from batches.recognition.diarization.embedding import SpeakerEmbeddings
from batches.recognition.diarization.segmentation import Segmentation
from batches.recognition.diarization.speech_segments import Run, SpeechSegments

_SHORTEST, _LONGEST = 0.3, 1.2  # s of an interjection
_PAUSE = 0.1  # s of silence at either side
_LEFT = 1.0  # s of speech that a speaker keeps in any case: there are as many speakers afterwards
# On nine scenes with half a second by another voice, 15 of 27 were right instead of 12; margins of 0.15 to
# 0.3 did alike, and the error on ten recordings stayed the same. It costs a twentieth of the CPU time.
_MARGIN = 0.2  # of cosine similarity by which another speaker must be more similar
_LEAST_LIKE = 0.3  # cosine similarity to it at least
Embed = Callable[[SpeechSegments], SpeakerEmbeddings]


def relabel(
    segmentation: Segmentation,
    segments: SpeechSegments,
    embeddings: SpeakerEmbeddings,
    labels: Labels,
    embed: Embed,
) -> tuple[SpeechSegments, Labels]:
    """Return segments and labels in which interjections are separate segments of their own speaker.

    ``embed`` computes the embeddings of the candidate runs. The number of speakers does not change.
    """
    if labels.max(initial=-1) < 1:
        return segments, labels
    short, parents = _short_runs(segmentation, segments)
    if not len(short):
        return segments, labels
    found = embed(short)
    voices = centroids(embeddings, labels)
    alike = found.vectors @ voices.T
    rows = np.arange(len(short))
    own = labels[parents]
    nearest = alike.argmax(axis=1)
    clearly = alike[rows, nearest] - alike[rows, np.maximum(own, 0)] >= _MARGIN
    moved = (own >= 0) & (found.seconds > 0) & clearly & (alike[rows, nearest] >= _LEAST_LIKE)
    moved &= _keeps_speech(embeddings, labels, own, np.where(moved, found.seconds, 0.0))[np.maximum(own, 0)]
    owner = segments.owner.copy()
    added: list[int] = []
    for row in np.flatnonzero(moved):
        (start, end) = short.runs[row][0][0], short.runs[row][-1][1]
        owner[short.windows[row], start:end, short.speakers[row]] = len(segments) + len(added)
        added.append(int(row))
    return (
        SpeechSegments(
            np.concatenate([segments.windows, short.windows[added]]),
            np.concatenate([segments.speakers, short.speakers[added]]),
            [*segments.runs, *(short.runs[row] for row in added)],
            np.where(segments.owner >= 0, owner, -1).astype(np.int32),
        ),
        np.concatenate([labels, nearest[added].astype(np.int64)]),
    )


def _keeps_speech(
    embeddings: SpeakerEmbeddings,
    labels: Labels,
    own: npt.NDArray[np.int64],
    lost: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """(speakers,) whether a speaker has enough speech left without the runs assigned to others."""
    count = int(labels.max()) + 1
    known = labels >= 0
    has = np.bincount(labels[known], weights=embeddings.seconds[known], minlength=count)
    taken = np.bincount(np.maximum(own, 0), weights=lost, minlength=count)
    kept: npt.NDArray[np.bool_] = has - taken >= _LEFT
    return kept


def _short_runs(
    segmentation: Segmentation, segments: SpeechSegments
) -> tuple[SpeechSegments, npt.NDArray[np.int64]]:
    """Candidate runs for interjections, in the segments' order, and the segment of each."""
    step = segmentation.frame_step
    least, most, pause = (round(seconds / step) for seconds in (_SHORTEST, _LONGEST, _PAUSE))
    runs: list[list[Run]] = []
    parents: list[int] = []
    for number, own in enumerate(segments.runs):
        active = segmentation.active[segments.windows[number], :, segments.speakers[number]]
        for start, end in _joined(own):
            apart = not active[max(0, start - pause) : start].any() and not active[end : end + pause].any()
            if least <= end - start <= most and apart and len(own) > 1:
                runs.append([(start, end)])
                parents.append(number)
    index = np.array(parents, dtype=np.int64)
    short = replace(segments, windows=segments.windows[index], speakers=segments.speakers[index], runs=runs)
    return short, index


def _joined(runs: list[Run]) -> list[Run]:
    """Runs in order, with adjacent ones merged: long speech is cut without a pause."""
    joined: list[Run] = []
    for start, end in runs:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
