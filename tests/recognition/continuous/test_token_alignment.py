"""Batched alignment gives the frames of ``word_times``, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.recognition.alignment import word_times
from batches.recognition.asr.continuous import token_alignment
from batches.recognition.asr.continuous.loop_check import find_loops
from batches.recognition.asr.quality import loop_start

LEAD = 3


@pytest.mark.parametrize("seed", range(3))
def test_maps_and_frames_of_rows_of_many_sizes_are_those_of_one_row(seed: int) -> None:
    random = np.random.default_rng(seed)
    frames = np.array([1, 2, 3, 4, 5, 7, 30, 60])
    tokens = np.array([5, 4, 6, 9, 5, 7, 20, 12])  # with the lead
    scores = random.normal(0, 3, (len(frames), 4, tokens.max(), 60)).astype(np.float32)
    maps = token_alignment.attention_maps(
        torch.from_numpy(scores), torch.from_numpy(frames), torch.from_numpy(tokens), LEAD
    ).numpy()
    for row, (width, steps) in enumerate(zip(frames, tokens, strict=True)):
        own = scores[row, :, :steps, :width]
        expected = word_times.attention_map(own, LEAD)
        found = maps[row, : steps - LEAD, :width]
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert token_alignment.warp(-found).tolist() == word_times.warp(-found).tolist()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**31), st.booleans())
def test_warping_is_exactly_that_of_word_times(tokens: int, frames: int, seed: int, ties: bool) -> None:
    cost = np.random.default_rng(seed).normal(0, 1, (tokens, frames)).astype(np.float32)
    cost = cost.round() if ties else cost
    assert token_alignment.warp(cost).tolist() == word_times.warp(cost).tolist()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 2), max_size=70), st.integers(1, 17), st.integers(0, 70)),
        min_size=1,
        max_size=6,
    )
)
def test_loops_are_found_where_they_are_found_one_by_one(texts: list[tuple[list[int], int, int]]) -> None:
    """Texts of three words, most of them ending in a loop."""
    rows = [text + (text[-period:] or [1]) * turns for text, period, turns in texts]
    rows = [row[:220] for row in rows]
    tokens = np.full((len(rows), 232), 9)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    lengths = np.array([len(row) for row in rows])
    assert find_loops(tokens, lengths) == [loop_start(row) for row in rows]


def test_a_loop_is_found_in_the_company_of_texts_without_one() -> None:
    tokens = np.arange(232)[None].repeat(3, axis=0)
    tokens[1, 40:] = 7
    assert find_loops(tokens, np.array([80, 80, 8])) == [None, 41, None]


def test_a_long_row_makes_the_groups_of_short_ones_no_smaller() -> None:
    sizes = np.array([5, 100, 7, 6, 90, 4])
    found = token_alignment.groups(sizes, lambda longest: 1 if longest > 50 else 3)
    assert [group.tolist() for group in found] == [[1], [4], [2, 3, 0], [5]]


def test_all_zero_one_patterns_have_their_median() -> None:
    """A network that sorts out the median of every 0-1 pattern does so for all values."""
    patterns = torch.tensor([[(number >> bit) & 1 for bit in range(7)] for number in range(128)]).float()
    median = token_alignment._median(patterns, 1)[:, 0]
    assert torch.equal(median, patterns.median(dim=1).values)
