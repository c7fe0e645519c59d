"""Coverage: finds regions of voice activity that no word covers.

Word times come from cross-attention, which leaves no gaps: if the recogniser skipped a sentence, a
neighbouring word lasts as long as the sentence. So a word covers at most the time that its pronunciation
takes, and the rest of its time counts as speech without words.
"""

from __future__ import annotations

import itertools
import unicodedata
from bisect import bisect
from collections.abc import Iterator, Sequence
from typing import Protocol

Region = tuple[float, float]  # start and end in seconds

LEAST_SECONDS = 1.2  # of speech in one stretch, below which nothing is missed
_FRAGMENT_SECONDS = 0.3  # of speech beside a word, below which it is the word's
_WORD_SECONDS = 0.5  # that any word may last, and then for each character of its text:
_LETTER_SECONDS = 0.1
_SYLLABLE_SECONDS = 0.35  # Hangul, Kana, Han: a character is a syllable or more
_DIGIT_SECONDS = 0.5  # "1998" is said as four words


class Timed(Protocol):
    """A word; times in seconds."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


def longest_seconds(text: str) -> float:
    """Maximum duration in seconds of a spoken word."""
    return _WORD_SECONDS + sum(map(_character_seconds, text))


def _character_seconds(character: str) -> float:
    if character.isdigit():
        return _DIGIT_SECONDS
    if not character.isalpha():
        return 0.0
    return _SYLLABLE_SECONDS if unicodedata.east_asian_width(character) in "WF" else _LETTER_SECONDS


def uncovered(words: Sequence[Timed], speech: Sequence[Region], least: float = LEAST_SECONDS) -> list[Region]:
    """Regions in which at least ``least`` seconds of speech have no words, in order.

    ``words`` and ``speech`` are in order. If a word lasts too long, the region is that of the whole word.
    """
    return [(start, end) for start, end, _ in _stretches(words, speech, least)]


def seconds(words: Sequence[Timed], speech: Sequence[Region]) -> float:
    """Seconds of speech without words, of all stretches together."""
    return sum(lost for _, _, lost in _stretches(words, speech, LEAST_SECONDS))


def _stretches(
    words: Sequence[Timed], speech: Sequence[Region], least: float
) -> Iterator[tuple[float, float, float]]:
    """(start, end, seconds of speech without words) of each stretch."""
    at = 0.0
    for word in words:
        if word.start - at >= least:
            yield from _bare(speech, at, word.start, least)
        if word.end - word.start >= least:  # a shorter word hides no speech
            inside = overlap(speech, word.start, word.end)
            lost = sum(end - start for start, end in inside) - longest_seconds(word.text)
            if lost >= least:
                yield word.start, word.end, lost
        at = max(at, word.end)
    if speech:
        yield from _bare(speech, at, speech[-1][1], least)


def _bare(
    speech: Sequence[Region], start: float, end: float, least: float
) -> Iterator[tuple[float, float, float]]:
    """The part of start..end from its first to its last speech, if there is enough of that."""
    inside = [(a, b) for a, b in overlap(speech, start, end) if b - a >= _FRAGMENT_SECONDS]
    said = sum(b - a for a, b in inside)
    if said >= least:
        yield inside[0][0], inside[-1][1], said


def overlap(regions: Sequence[Region], start: float, end: float) -> list[Region]:
    """Intersection of regions, in order and disjoint, with start..end."""
    first = max(0, bisect(regions, start, key=lambda region: region[0]) - 1)
    found = []
    for a, b in itertools.islice(regions, first, None):
        if a >= end:
            break
        if b > start:
            found.append((max(a, start), min(b, end)))
    return found
