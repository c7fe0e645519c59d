"""Word times: words begin and end where the speech does."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.alignment import sentences
from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import SPEECH_MARGIN
from batches.recognition.transcript import Word

_MARGIN_MS = round(SPEECH_MARGIN * 1000)


def fitted(words: list[tuple[int, int]], speech: list[Region]) -> list[tuple[int, int]]:
    made = [Word(start, end, " word", 0.9) for start, end in words]
    sentences.fit_to_speech(made, speech)
    return [(word.start, word.end) for word in made]


def test_a_word_that_is_stretched_over_a_pause_is_cut_to_speech() -> None:
    assert fitted([(500, 3000), (3000, 3500)], [(0.0, 1.0), (2.9, 3.6)]) == [(500, 1000), (3000, 3500)]


def test_the_last_word_before_a_pause_lasts_until_speech_ends() -> None:
    assert fitted([(100, 500), (500, 700), (2100, 2300)], [(0.0, 1.0), (2.0, 2.6)]) == [
        (100, 500),
        (500, 1000 - _MARGIN_MS),
        (2100, 2600 - _MARGIN_MS),
    ]


def test_a_word_with_another_behind_it_keeps_its_end() -> None:
    assert fitted([(100, 300), (600, 890)], [(0.0, 1.0)])[0] == (100, 300)


def test_long_speech_without_words_is_not_the_last_words() -> None:
    assert fitted([(100, 300)], [(0.0, 5.0)]) == [(100, 300)]


def test_a_word_where_nobody_speaks_is_left_alone() -> None:
    assert fitted([(1500, 1700)], [(0.0, 1.0), (2.0, 3.0)]) == [(1500, 1700)]


def pairs(moments: set[int]) -> list[tuple[int, int]]:
    """Stretches of time in ms, in order and apart from each other."""
    ordered = sorted(moments)
    return list(zip(ordered[::2], ordered[1::2], strict=False))


stretches = st.sets(st.integers(0, 20_000), max_size=24).map(pairs)


@given(stretches, stretches)
def test_times_stay_in_order_and_words_in_speech(
    words: list[tuple[int, int]], speech: list[tuple[int, int]]
) -> None:
    given_words = [Word(start, end, " word", 0.9) for start, end in words]
    found = [replace(word) for word in given_words]
    sentences.fit_to_speech(found, [(start / 1000, end / 1000) for start, end in speech])
    assert all(word.start < word.end for word in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
    for before, after in zip(given_words, found, strict=True):
        touches = any(start < before.end and before.start < end for start, end in speech)
        inside = any(start <= after.start and after.end <= end for start, end in speech)
        assert inside if touches else before == after
