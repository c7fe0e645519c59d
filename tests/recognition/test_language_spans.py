"""Language spans: where a recording changes between the languages that are expected in it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.asr import language_spans
from batches.recognition.contracts import SpeechChunk
from batches.recognition.media.decoding import SAMPLE_RATE

KOREAN, ENGLISH = {"ko": 0.97, "en": 0.01, "ja": 0.02}, {"ko": 0.02, "en": 0.98, "ja": 0.0}
UNSURE = {"ko": 0.3, "en": 0.2, "ja": 0.5}


@pytest.mark.parametrize(
    ("answers", "speech", "found"),
    [
        ([ENGLISH, KOREAN], [4.0, 4.0], ["en", "ko"]),
        ([KOREAN, ENGLISH, KOREAN], [2.0, 2.0, 2.0], ["ko", "en", "ko"]),
        ([ENGLISH, UNSURE, ENGLISH], [4.0, 1.0, 4.0], ["en", "en", "en"]),
        ([ENGLISH, KOREAN, ENGLISH], [4.0, 0.3, 4.0], ["en", "en", "en"]),
        ([KOREAN], [0.5], ["ko"]),
    ],
)
def test_long_windows_say_their_language_and_short_ones_go_with_their_neighbours(
    answers: list[dict[str, float]], speech: list[float], found: list[str]
) -> None:
    assert language_spans.choose(answers, speech, ("ko", "en")) == found


regions = st.lists(st.tuples(st.floats(0.1, 2), st.floats(0.1, 8)), max_size=6)


@given(regions)
def test_windows_follow_each_other_from_the_start_of_the_chunk_to_its_end(
    pairs: list[tuple[float, float]],
) -> None:
    speech, now = [], 0.0
    for pause, length in pairs:
        speech.append((now + pause, now + pause + length))
        now += pause + length
    sound = SpeechChunk(np.zeros(round((now + 1) * SAMPLE_RATE), dtype=np.float32), speech=speech)
    found = language_spans.windows(sound)
    assert found[0].start == 0.0
    assert found[-1].end == sound.seconds
    assert all(one.end == two.start for one, two in itertools.pairwise(found))
    codes = ["ko" if at % 3 else "en" for at in range(len(found))]
    spans = language_spans.spans(found, codes)
    assert [code for _, code in spans] == [code for code, _ in itertools.groupby(codes)]
    assert (spans[0][0][0], spans[-1][0][1]) == (0.0, sound.seconds)


def test_a_pause_of_half_a_second_parts_two_windows() -> None:
    sound = SpeechChunk(np.zeros(6 * SAMPLE_RATE, dtype=np.float32), speech=[(0.0, 2.5), (3.0, 6.0)])
    assert [(window.start, window.end) for window in language_spans.windows(sound)] == [
        (0.0, 2.75),
        (2.75, 6.0),
    ]


def test_a_short_sentence_between_two_of_another_language_has_windows_of_its_own() -> None:
    """Without a pause, windows of five seconds gave it the language of its neighbours, and it was lost."""
    speech = [(0.0, 7.5)]  # three sentences of 2.5 s each
    sound = SpeechChunk(np.zeros(round(7.5 * SAMPLE_RATE), dtype=np.float32), speech=speech)
    found = language_spans.windows(sound)
    assert all(window.end - window.start <= 3.0 for window in found)
    answers = [ENGLISH if 2.5 < (window.start + window.end) / 2 < 5.0 else KOREAN for window in found]
    assert "en" in language_spans.choose(answers, [window.speech for window in found], ("ko", "en"))
