"""Language spans: which of several expected languages is spoken when, for files that mix them.

Speech is split into windows at pauses, and long speech at quiet points. The model detects the language of
each window, and the Viterbi algorithm finds the most likely sequence of languages: short windows have little
weight, and a change of language has a cost.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import split_at_quiet
from batches.recognition.contracts import SpeechChunk

# s. Of 208 sentences in 60 files that mix Korean and English, windows of 5 s missed 16, and of 3 s one;
# no second of ten minutes of English was taken for Korean.
LONGEST_WINDOW = 3.0
_ENOUGH_SPEECH = 1.0  # s of speech after which a window ends at the next pause
_LONG_PAUSE = 0.8  # s; ends a window of any length
_SURE_SECONDS = 1.5  # s of speech from which a window has its full weight
_CHANGE_COST = 0.7  # negative log-probability of a change of language
_FLOOR = 0.005  # minimum probability of each language in a window


@dataclass(frozen=True, slots=True)
class Window:
    """Window: part of a chunk, in seconds from its start. Windows of a chunk are contiguous."""

    start: float
    end: float
    speech: float  # s of speech in it


def windows(chunk: SpeechChunk) -> list[Window]:
    """Windows of a chunk, from its start to its end; at least one."""
    pieces = split_at_quiet(chunk.samples, chunk.speech, LONGEST_WINDOW)
    groups: list[list[Region]] = []
    for piece in pieces:
        if groups and not _ends(groups[-1], piece):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    edges = [0.0, *((one[-1][1] + two[0][0]) / 2 for one, two in itertools.pairwise(groups))]
    ends = [*edges[1:], chunk.seconds]
    speech = [sum(end - start for start, end in group) for group in groups] or [chunk.seconds]
    return [Window(*each) for each in zip(edges, ends, speech, strict=True)]


def _ends(group: Sequence[Region], following: Region) -> bool:
    """Whether a window of these pieces ends before the following piece."""
    said = sum(end - start for start, end in group)
    too_long = following[1] - group[0][0] > LONGEST_WINDOW
    return too_long or said >= _ENOUGH_SPEECH or following[0] - group[-1][1] >= _LONG_PAUSE


def choose(
    answers: Sequence[dict[str, float]], speech: Sequence[float], expected: Sequence[str]
) -> list[str]:
    """Language of each window, from its probabilities and its seconds of speech (Viterbi)."""
    best = dict.fromkeys(expected, 0.0)
    before: list[dict[str, str]] = []
    for answer, seconds in zip(answers, speech, strict=True):
        total = sum(answer.get(code, 0.0) for code in expected) or 1.0
        weight = min(1.0, seconds / _SURE_SECONDS)
        reached: dict[str, float] = {}
        came: dict[str, str] = {}
        for code in expected:
            came[code] = _likeliest(best, code)
            own = math.log(max(_FLOOR, answer.get(code, 0.0) / total))
            reached[code] = best[came[code]] - _CHANGE_COST * (came[code] != code) + weight * own
        before.append(came)
        best = reached
    chosen: list[str] = []
    code = max(expected, key=best.__getitem__)
    for came in reversed(before):
        chosen.append(code)
        code = came[code]
    return chosen[::-1]


def _likeliest(best: dict[str, float], code: str) -> str:
    """Most likely predecessor of ``code``, given the best score of each sequence so far."""
    return max(best, key=lambda other: best[other] - _CHANGE_COST * (other != code))


def spans(found: Sequence[Window], codes: Sequence[str]) -> list[tuple[Region, str]]:
    """Merge consecutive windows of one language: (start and end in the chunk, language)."""
    joined: list[tuple[Region, str]] = []
    for window, code in zip(found, codes, strict=True):
        if joined and joined[-1][1] == code:
            joined[-1] = ((joined[-1][0][0], window.end), code)
        else:
            joined.append(((window.start, window.end), code))
    return joined
