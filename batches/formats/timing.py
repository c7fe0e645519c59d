"""Times of a corrected text: the recognised words' times, aligned to the units of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from batches.recognition.transcript import Word

from . import characters

# The cost of matching can reach the product of both lengths, or more for hostile input; above this limit the
# differing part is spread evenly over the time of the part that it replaces.
_LARGEST_MATCH = 60_000
_LETTER_MS = 150  # assumed duration of each letter of text that was inserted into a pause
_LONGEST_UNIT = 40  # columns; anything longer without a space is cut


@dataclass(slots=True)
class TextUnit:
    """Smallest part of a text that is never split: a word, or a word of the engine."""

    start: int  # ms
    end: int  # ms
    text: str
    space: bool  # whether a space precedes it
    columns: int


def timed_units(text: str, words: Sequence[Word], start: int, end: int) -> list[TextUnit]:
    """Split ``text`` (one line) into units with times.

    Characters that also occur in the words, in the same order, get the time of their word; inserted text is
    spread over the gap in between. Without words, all of the text is spread over ``start`` to ``end``.
    """
    letters = [letter for letter in text if letter != " "]
    spoken = _spoken(words)
    matches = _matches(letters, spoken.letters)
    spans = _spans(letters, spoken, matches, start, max(start, end))
    edges = _edges(letters, spoken, matches)
    units: list[TextUnit] = []
    index = 0
    for token in text.split(" "):
        space = bool(units)
        for part in _parts(token, edges, index):
            first, last = spans[index], spans[index + len(part) - 1]
            units.append(TextUnit(first[0], max(first[0], last[1]), part, space, characters.columns(part)))
            index += len(part)
            space = False
    return units


@dataclass(slots=True)
class _Spoken:
    letters: list[str]  # of all words, without spaces
    times: list[tuple[int, int]]  # of each letter
    edges: set[int]  # indexes at which a word begins


def _spoken(words: Sequence[Word]) -> _Spoken:
    spoken = _Spoken([], [], set())
    for word in words:
        own = characters.one_line(word.text).replace(" ", "")
        spoken.edges.add(len(spoken.letters))
        length = max(0, word.end - word.start)
        spoken.letters.extend(own)
        spoken.times.extend(
            (word.start + length * at // len(own), word.start + length * (at + 1) // len(own))
            for at in range(len(own))
        )
    return spoken


def _matches(letters: Sequence[str], spoken: Sequence[str]) -> list[tuple[int, int, int]]:
    """Matching blocks of both sequences: (index in letters, index in spoken, length)."""
    shorter = min(len(letters), len(spoken))
    head = next((at for at in range(shorter) if letters[at] != spoken[at]), shorter)
    tail = next((at for at in range(shorter - head) if letters[-1 - at] != spoken[-1 - at]), shorter - head)
    end, spoken_end = len(letters) - tail, len(spoken) - tail
    found = [(0, 0, head)]
    if (end - head) * (spoken_end - head) <= _LARGEST_MATCH:
        middle = SequenceMatcher(None, spoken[head:spoken_end], letters[head:end], autojunk=False)
        found += [(head + b, head + a, size) for a, b, size in middle.get_matching_blocks()]
    return [match for match in [*found, (end, spoken_end, tail)] if match[2]]


def _parts(token: str, edges: set[int], offset: int) -> list[str]:
    """Split a token without spaces where its script allows it."""
    parts: list[str] = []
    begin, width = 0, 0
    for index in range(1, len(token)):
        before, after = token[index - 1], token[index]
        width += characters.columns(before)
        at_word = offset + index in edges and characters.may_break(before, after)
        too_long = width >= _LONGEST_UNIT - 1 and not characters.holds_together(before, after)
        if at_word or too_long:
            parts.append(token[begin:index])
            begin, width = index, 0
    return [*parts, token[begin:]] if token else parts


def _spans(
    letters: list[str], spoken: _Spoken, matches: list[tuple[int, int, int]], start: int, end: int
) -> list[tuple[int, int]]:
    """Start and end of each letter in ms."""
    known: list[tuple[int, int] | None] = [None] * len(letters)
    for at, spoken_at, length in matches:
        known[at : at + length] = spoken.times[spoken_at : spoken_at + length]
    filled: list[tuple[int, int]] = []
    index = 0
    while index < len(known):
        span = known[index]
        if span is not None:
            filled.append(span)
            index += 1
            continue
        stop = index
        while stop < len(known) and known[stop] is None:
            stop += 1
        after = known[stop] if stop < len(known) else None
        left, right = filled[-1][1] if filled else start, after[0] if after else end
        longest = (stop - index) * _LETTER_MS
        if matches and right - left > longest:
            left, right = (left, left + longest) if filled else (right - longest, right)
        filled += _spread(stop - index, left, max(left, right))
        index = stop
    return filled


def _spread(count: int, start: int, end: int) -> list[tuple[int, int]]:
    length = end - start
    return [(start + length * n // count, start + length * (n + 1) // count) for n in range(count)]


def _edges(letters: list[str], spoken: _Spoken, matches: list[tuple[int, int, int]]) -> set[int]:
    """Indexes into ``letters`` at which a word of the engine begins; all indexes if none is known."""
    found = {
        at + edge - spoken_at
        for at, spoken_at, length in matches
        for edge in spoken.edges
        if spoken_at <= edge < spoken_at + length
    }
    return found or set(range(len(letters)))
