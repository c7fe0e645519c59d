"""Chunks: what they hold, how times in them lead back to the file, and what is left of one."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.asr.chunks import MAX_SECONDS, Chunk, make_chunks
from batches.recognition.media.decoding import SAMPLE_RATE

TWO_PARTS = Chunk(((1.0, 3.0), (10.0, 14.0)))


def test_what_is_left_after_a_time_in_the_first_part_or_in_the_second() -> None:
    assert TWO_PARTS.after(0.5).pieces == ((1.5, 3.0), (10.0, 14.0))
    assert TWO_PARTS.after(3.0).pieces == ((11.0, 14.0),)
    assert TWO_PARTS.after(6.0).pieces == ()


def test_a_time_in_the_rest_is_the_same_time_in_the_file() -> None:
    assert TWO_PARTS.after(3.0).to_file(1.0) == pytest.approx(TWO_PARTS.to_file(4.0))


@given(st.floats(0, 6))
def test_what_is_left_and_what_went_before_are_the_whole(seconds: float) -> None:
    assert TWO_PARTS.after(seconds).length == pytest.approx(TWO_PARTS.length - seconds, abs=1e-6)


regions = st.lists(st.tuples(st.floats(0.05, 5), st.floats(0.1, 40)), max_size=12)


@given(regions)
def test_chunks_hold_all_speech_in_order_and_none_is_too_long(pairs: list[tuple[float, float]]) -> None:
    speech, now = [], 0.0
    for pause, length in pairs:
        speech.append((now + pause, now + pause + length))
        now += pause + length
    samples = np.zeros(round((now + 1) * SAMPLE_RATE), dtype=np.float32)
    chunks = make_chunks(samples, speech)
    parts = [part for chunk in chunks for part in chunk.pieces]
    assert all(chunk.length <= MAX_SECONDS + 1e-6 for chunk in chunks)
    assert all(before[1] <= after[0] + 1e-6 for before, after in itertools.pairwise(parts))
    for start, end in speech:
        held = sum(max(0.0, min(end, b) - max(start, a)) for a, b in parts)
        assert held == pytest.approx(end - start, abs=1e-3)
