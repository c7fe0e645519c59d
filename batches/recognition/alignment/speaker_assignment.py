"""Speaker assignment: assigns a speaker to every word, and splits segments where the speaker changes.

Words are not lost, moved or changed: only their speaker is set, and segments are split between words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from batches.recognition.transcript import Segment, SpeakerTurn, Transcript, Word

_TIE = (
    0.9  # a speaker heard for this share of what the loudest candidate is heard for is as likely as they are
)
_AMBIGUOUS = 0.3  # share of a word in which its neighbours' speaker must be heard to take it back
_CONTINUOUS = 500  # ms: words further apart are not one flow of speech


def assign_speakers(transcript: Transcript, turns: list[SpeakerTurn]) -> Transcript:
    """Return a new transcript with speakers; the argument is not changed.

    A word is assigned to the speaker with the longest overlap, including overlapping turns, or in silence to
    the nearest turn. Ties go to the speaker of the word before, or else after. A single word of another
    speaker within continuous speech is reassigned to the surrounding speaker if that speaker's turns overlap
    it too; otherwise it remains as an interjection.
    """
    if not turns:
        return dataclasses.replace(transcript, turns=[], speakers=[])
    clock = _Clock(turns)
    segments = [part for segment in transcript.segments for part in _divide(segment, clock)]
    return dataclasses.replace(
        transcript,
        segments=segments,
        speakers=list(dict.fromkeys(segment.speaker for segment in segments)),
        turns=[dataclasses.replace(turn) for turn in turns],
    )


class _Clock:
    """Index of turns: speaker shares of time spans."""

    def __init__(self, turns: list[SpeakerTurn]) -> None:
        self.speakers = list(dict.fromkeys(turn.speaker for turn in turns))
        number = {speaker: index for index, speaker in enumerate(self.speakers)}
        self.starts = np.array([turn.start for turn in turns], dtype=np.int64)
        self.ends = np.array([turn.end for turn in turns], dtype=np.int64)
        numbers = [number[turn.speaker] for turn in turns]
        self.is_of = np.eye(len(self.speakers))[numbers]  # (turns, speakers)

    def shares(self, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.float64]:
        """(spans, speakers) share of each speaker in each span; in silence the nearest speaker has it all."""
        starts, ends = np.array(spans, dtype=np.int64).T
        ends = np.maximum(ends, starts + 1)
        near = (self.starts < ends.max()) & (self.ends > starts.min())
        heard = np.maximum(self._overlap(near, starts, ends), 0) @ self.is_of[near]
        everywhere = np.ones(near.size, dtype=np.bool_)
        for row in np.flatnonzero(~heard.any(axis=1)):
            # Without overlap, what is left of it is minus the distance.
            distances = self._overlap(everywhere, starts[row : row + 1], ends[row : row + 1])
            heard[row] = self.is_of[distances.argmax()] * (ends[row] - starts[row])
        shares: npt.NDArray[np.float64] = heard / (ends - starts)[:, None]
        return shares

    def _overlap(
        self,
        chosen: npt.NDArray[np.bool_],
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """(spans, chosen turns) overlap in time; negative without any overlap."""
        overlap: npt.NDArray[np.int64] = np.minimum(self.ends[chosen], ends[:, None]) - np.maximum(
            self.starts[chosen], starts[:, None]
        )
        return overlap


def _divide(segment: Segment, clock: _Clock) -> list[Segment]:
    """The segment's parts, each of one speaker; the segment itself, with a speaker, where it is not cut."""
    if not segment.words:
        best = int(clock.shares([(segment.start, segment.end)]).argmax())
        return [dataclasses.replace(segment, speaker=clock.speakers[best], flags=list(segment.flags))]
    shares = clock.shares([(word.start, word.end) for word in segment.words])
    chosen = _take_back(segment.words, shares, _choose(shares))
    words = [
        dataclasses.replace(word, speaker=clock.speakers[number])
        for word, number in zip(segment.words, chosen, strict=True)
    ]
    parts = [list(part) for _, part in groupby(words, key=lambda word: word.speaker)]
    if len(parts) == 1:
        return [
            dataclasses.replace(segment, words=words, speaker=words[0].speaker, flags=list(segment.flags))
        ]
    return [
        dataclasses.replace(
            segment,
            start=segment.start if index == 0 else part[0].start,
            end=segment.end if index == len(parts) - 1 else max(word.end for word in part),
            text=join_words(part),
            words=part,
            confidence=sum(word.probability for word in part) / len(part),
            speaker=part[0].speaker,
            flags=list(segment.flags),
        )
        for index, part in enumerate(parts)
    ]


def _choose(shares: npt.NDArray[np.float64]) -> list[int]:
    """The speaker of each word, (words, speakers) -> numbers; ties go on with the word before or after."""
    likely = shares >= _TIE * shares.max(axis=1, keepdims=True)
    sure = [int(row.argmax()) if row.sum() == 1 else -1 for row in likely]
    chosen: list[int] = []
    for index, row in enumerate(likely):
        before = chosen[-1] if chosen else -1
        after = next((number for number in sure[index:] if number >= 0), -1)
        near = [number for number in (before, after) if number >= 0 and row[number]]
        chosen.append(near[0] if near else int(shares[index].argmax()))
    return chosen


def _take_back(words: list[Word], shares: npt.NDArray[np.float64], chosen: list[int]) -> list[int]:
    """Reassign single words of another speaker within continuous speech if the speaker is uncertain."""
    result = list(chosen)
    for index in range(1, len(words) - 1):
        around = result[index - 1]
        if result[index] == around or chosen[index + 1] != around:
            continue
        flows = (
            words[index].start - words[index - 1].end < _CONTINUOUS
            and words[index + 1].start - words[index].end < _CONTINUOUS
        )
        if flows and shares[index, around] >= _AMBIGUOUS:
            result[index] = around
    return result


def join_words(words: Iterable[Word]) -> str:
    """Join the texts of words, which include their own spaces (none in Japanese and Chinese)."""
    return "".join(word.text for word in words).strip()
