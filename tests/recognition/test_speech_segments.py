"""Speech segments: the speech of a window is cut into pieces of one speaker each."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.recognition.diarization.segmentation import Segmentation
from batches.recognition.diarization.speech_segments import LONGEST, cut_segments, group_runs

FRAME_STEP, FRAMES = 0.016875, 589
Spans = list[tuple[float, float]]


def segmentation(*windows: list[Spans]) -> Segmentation:
    """Windows as lists of local speakers, each a list of (start, end) seconds within the window."""
    active = np.zeros((len(windows), FRAMES, 3), dtype=bool)
    for window, speakers in enumerate(windows):
        for speaker, spans in enumerate(speakers):
            for start, end in spans:
                active[window, round(start / FRAME_STEP) : round(end / FRAME_STEP), speaker] = True
    return Segmentation(
        scores=active.astype(np.float32),
        active=active,
        speech=active.max(axis=2, initial=False).astype(np.float32),
        duration=5.0 * len(windows) + 5.0,
        window=10.0,
        step=5.0,
        frame_step=FRAME_STEP,
        frame_duration=0.0619375,
    )


def seconds(runs: list[tuple[int, int]]) -> Spans:
    return [(round(start * FRAME_STEP, 1), round(end * FRAME_STEP, 1)) for start, end in runs]


def test_a_speaker_is_cut_at_pauses() -> None:
    pieces = cut_segments(segmentation([[(0.5, 2.0), (2.5, 4.5)]]))
    assert [seconds(runs) for runs in pieces.runs] == [[(0.5, 2.0)], [(2.5, 4.5)]]
    assert pieces.windows.tolist() == [0, 0]
    assert pieces.speakers.tolist() == [0, 0]


def test_long_speech_without_a_pause_is_cut_into_equal_parts() -> None:
    pieces = cut_segments(segmentation([[(0.0, 9.0)]]))
    assert [seconds(runs) for runs in pieces.runs] == [[(0.0, 3.0)], [(3.0, 6.0)], [(6.0, 9.0)]]


def test_words_too_short_to_stand_alone_are_gathered_across_pauses() -> None:
    pieces = cut_segments(segmentation([[(0.0, 0.4), (0.8, 1.2), (1.6, 2.0), (2.6, 3.0)]]))
    assert [seconds(runs) for runs in pieces.runs] == [[(0.0, 0.4), (0.8, 1.2), (1.6, 2.0), (2.6, 3.0)]]


def test_a_late_interjection_is_a_piece_of_its_own() -> None:
    pieces = cut_segments(segmentation([[(0.0, 2.0), (6.0, 6.4)]]))
    assert [seconds(runs) for runs in pieces.runs] == [[(0.0, 2.0)], [(6.0, 6.4)]]


def test_windows_share_their_overlap_and_embed_nothing_twice() -> None:
    # Ten seconds of speech, from 2 s to 12 s, seen by two windows that overlap from 5 s to 10 s.
    both = segmentation([[(2.0, 10.0)]], [[(0.0, 7.0)]])
    pieces = cut_segments(both)
    assert sum(end - start for runs in pieces.runs for start, end in runs) * FRAME_STEP < 10.1
    # Every active frame, embedded or not, still belongs to a piece of its own window and speaker.
    assert ((pieces.owner >= 0) == both.active).all()


def test_silence_has_no_pieces() -> None:
    assert len(cut_segments(segmentation([[]]))) == 0
    assert len(cut_segments(segmentation())) == 0


span = st.tuples(st.floats(0, 9.9), st.floats(0.02, 4.0)).map(lambda pair: (pair[0], min(9.9, sum(pair))))
window = st.lists(st.lists(span, max_size=5), max_size=3)


@settings(max_examples=60)
@given(st.lists(window, max_size=4))
def test_any_speech_is_in_pieces_of_its_own_speaker(windows: list[list[Spans]]) -> None:
    made = segmentation(*windows)
    pieces = cut_segments(made)

    assert ((pieces.owner >= 0) == made.active).all()
    for number, runs in enumerate(pieces.runs):
        here, who = pieces.windows[number], pieces.speakers[number]
        for start, end in runs:
            assert start < end
            assert made.active[here, start:end, who].all()
            assert (pieces.owner[here, start:end, who] == number).all()
    frames, _, _ = np.nonzero(pieces.owner >= 0)
    assert set(pieces.windows.tolist()) == set(frames.tolist())


@given(
    st.lists(st.tuples(st.integers(0, 80), st.integers(1, 240)), max_size=30).map(
        lambda steps: [
            (sum(map(sum, steps[:index])) + gap, sum(map(sum, steps[:index])) + gap + length)
            for index, (gap, length) in enumerate(steps)
        ]
    )
)
def test_grouping_keeps_every_run_once_and_in_order(runs: list[tuple[int, int]]) -> None:
    longest = round(LONGEST / FRAME_STEP)
    groups = group_runs(runs, shortest=59, longest=longest, pause=12, join=59)
    assert [run for group in groups for run in group] == runs
    assert all(sum(end - start for start, end in group) <= longest + 2 * 59 for group in groups)
