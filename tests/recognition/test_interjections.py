"""Interjections: half a second of another voice within a speaker's speech gets its own speaker."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from batches.recognition.diarization.embedding import SpeakerEmbeddings
from batches.recognition.diarization.interjections import relabel
from batches.recognition.diarization.segmentation import Segmentation
from batches.recognition.diarization.speech_segments import SpeechSegments, cut_segments
from batches.recognition.diarization.turns import build_turns
from tests.recognition.test_speech_segments import Spans, segmentation

ONE, OTHER = np.eye(192, dtype=np.float32)[:2]
# Somebody speaks, somebody else says half a second of it, and later much more.
TALK: list[list[Spans]] = [[[(0.5, 3.0), (3.3, 3.8), (4.1, 7.0)]], [[(2.0, 2.0)], [(5.5, 9.0)]]]


def labelled(segments: SpeechSegments, scene: Segmentation) -> npt.NDArray[np.int64]:
    """Labels as clustering gives them: per window, the interjection as the first speaker's speech."""
    return segments.windows.copy()


def embedded(segments: SpeechSegments, labels: npt.NDArray[np.int64]) -> SpeakerEmbeddings:
    vectors = np.where(labels[:, None] == 0, ONE, OTHER).astype(np.float32)
    return SpeakerEmbeddings(vectors, np.full(len(segments), 2.0, dtype=np.float32))


def turns_of(like_one: float, like_other: float) -> list[tuple[float, float, str]]:
    """Turns where the interjection alone is that like the two voices."""
    scene = segmentation(*TALK)
    segments = cut_segments(scene)
    labels = labelled(segments, scene)

    def embed(short: SpeechSegments) -> SpeakerEmbeddings:
        vector = like_one * ONE + like_other * OTHER
        assert all(0.3 <= (end - start) * scene.frame_step <= 1.2 for ((start, end),) in short.runs)
        count = len(short)
        return SpeakerEmbeddings(np.tile(vector, (count, 1)), np.full(count, 0.5, dtype=np.float32))

    found = relabel(scene, segments, embedded(segments, labels), labels, embed)
    return [(turn.start / 1000, turn.end / 1000, turn.speaker) for turn in build_turns(scene, *found)]


def speaker_at(turns: list[tuple[float, float, str]], second: float) -> list[str]:
    return [speaker for start, end, speaker in turns if start <= second < end]


@pytest.mark.parametrize(("like_one", "like_other", "speaker"), [(0.1, 0.6, "2"), (0.6, 0.1, "1")])
def test_an_interjection_has_the_voice_that_it_is_clearly_nearer_to(
    like_one: float, like_other: float, speaker: str
) -> None:
    turns = turns_of(like_one, like_other)
    assert speaker_at(turns, 3.5) == [speaker]
    assert [speaker_at(turns, second) for second in (1.0, 5.0, 12.0)] == [["1"], ["1"], ["2"]]


def test_a_voice_that_is_hardly_nearer_or_hardly_like_it_is_not_believed() -> None:
    assert speaker_at(turns_of(0.5, 0.52), 3.5) == ["1"]
    assert speaker_at(turns_of(-0.2, 0.05), 3.5) == ["1"]


def test_one_speaker_stays_one_and_nothing_is_embedded_for_it() -> None:
    scene = segmentation(*TALK)
    segments = cut_segments(scene)
    labels = np.zeros(len(segments), dtype=np.int64)

    def embed(short: SpeechSegments) -> SpeakerEmbeddings:
        raise AssertionError("there is nobody else to compare with")

    assert relabel(scene, segments, embedded(segments, labels), labels, embed) == (segments, labels)


def test_a_short_word_joined_to_other_speech_is_left_where_it_is() -> None:
    scene = segmentation([[(0.5, 3.0), (3.05, 3.5), (4.1, 7.0)]], [[(2.0, 2.0)], [(5.5, 9.0)]])
    segments = cut_segments(scene)
    labels = labelled(segments, scene)

    def embed(short: SpeechSegments) -> SpeakerEmbeddings:
        return SpeakerEmbeddings(np.tile(OTHER, (len(short), 1)), np.ones(len(short), dtype=np.float32))

    found, after = relabel(scene, segments, embedded(segments, labels), labels, embed)
    assert len(found) == len(segments)
    assert after.tolist() == labels.tolist()


def test_no_speaker_loses_all_speech() -> None:
    scene = segmentation([[(0.5, 1.0), (1.2, 1.7), (1.9, 2.4)]], [[(2.0, 2.0)], [(5.5, 9.0)]])
    segments = cut_segments(scene)
    labels = labelled(segments, scene)
    embeddings = embedded(segments, labels)
    embeddings.seconds[labels == 0] = 1.5

    def embed(short: SpeechSegments) -> SpeakerEmbeddings:
        return SpeakerEmbeddings(np.tile(OTHER, (len(short), 1)), np.full(len(short), 0.5, dtype=np.float32))

    _segments, after = relabel(scene, segments, embeddings, labels, embed)
    assert set(after.tolist()) == {0, 1}
    assert after.tolist() == labels.tolist()
