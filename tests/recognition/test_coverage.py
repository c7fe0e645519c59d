"""Coverage: speech without words is found between words, inside long words, and at both ends."""

from __future__ import annotations

import pytest

from batches.recognition.alignment import coverage
from batches.recognition.contracts import TimedWord


def word(text: str, start: float, end: float) -> TimedWord:
    return TimedWord(text, start, end, 0.9)


@pytest.mark.parametrize(
    ("words", "speech", "found"),
    [
        ([word("Yes.", 0.0, 0.8)], [(0.0, 1.0)], []),
        ([word("And", 0.0, 3.7), word("then", 3.7, 4.0)], [(0.0, 4.0)], [(0.0, 3.7)]),
        ([word("But", 0.0, 2.3), word("the", 2.3, 2.5)], [(0.0, 2.5)], [(0.0, 2.3)]),
        ([word("one", 0.0, 0.5), word("two", 4.0, 4.5)], [(0.0, 4.5)], [(0.5, 4.0)]),
        ([word("one", 0.0, 0.5), word("two", 4.0, 4.5)], [(0.0, 0.6), (3.9, 4.5)], []),
        ([word("one", 2.0, 2.5)], [(0.0, 2.5)], [(0.0, 2.0)]),
        ([word("one", 0.0, 0.5)], [(0.0, 0.6), (2.0, 5.0)], [(2.0, 5.0)]),
        ([], [(1.0, 5.0)], [(1.0, 5.0)]),
        ([], [], []),
        ([word("2,500,000", 0.0, 4.0)], [(0.0, 4.0)], []),
        ([word("안녕하세요.", 0.0, 2.4)], [(0.0, 2.4)], []),
    ],
)
def test_speech_without_words_is_found(
    words: list[TimedWord], speech: list[tuple[float, float]], found: list[tuple[float, float]]
) -> None:
    assert coverage.uncovered(words, speech) == [pytest.approx(each) for each in found]
    assert (coverage.seconds(words, speech) > 0) is bool(found)


def test_overlap_takes_what_regions_and_a_stretch_have_in_common() -> None:
    regions = [(0.0, 1.0), (2.0, 3.0), (4.0, 5.0)]
    assert coverage.overlap(regions, 0.5, 4.5) == [(0.5, 1.0), (2.0, 3.0), (4.0, 4.5)]
    assert coverage.overlap(regions, 1.0, 2.0) == []
