"""Chunks: their content, and the mapping of their times to those of the file."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.recognition.asr.chunks import MAX_SECONDS, Chunk, make_chunks
from batches.recognition.contracts import SpeechChunk
from batches.recognition.media.decoding import SAMPLE_RATE

TWO_PARTS = Chunk(((1.0, 3.0), (10.0, 14.0)))


def test_a_time_in_the_chunk_is_a_time_in_the_file() -> None:
    assert [TWO_PARTS.to_file(seconds) for seconds in (0.0, 1.5, 2.5, 6.0, 9.0)] == [
        1.0,
        2.5,
        10.5,
        14.0,
        14.0,
    ]


def test_the_sound_of_a_chunk_is_its_parts_joined_without_a_copy_of_each() -> None:
    samples = np.arange(20 * SAMPLE_RATE, dtype=np.float32)
    views = TWO_PARTS.views(samples)
    assert all(np.shares_memory(view, samples) for view in views)
    chunk = SpeechChunk(*views)
    assert chunk.seconds == 6.0
    assert chunk.samples[2 * SAMPLE_RATE - 1] == 3 * SAMPLE_RATE - 1
    assert chunk.samples[2 * SAMPLE_RATE] == 10 * SAMPLE_RATE


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
