"""Clustering of speaker embeddings: number of speakers, assignment, and limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.recognition.diarization.clustering import MOST_SPEAKERS, cluster_segments
from batches.recognition.diarization.embedding import SpeakerEmbeddings
from batches.recognition.diarization.speech_segments import SpeechSegments


def talk(
    people: list[int], *, seconds: float | list[float] = 3.0, likeness: float = 0.75, seed: int = 0
) -> tuple[SpeechSegments, SpeakerEmbeddings]:
    """One piece per window by the given speakers; ``likeness``: cosine between the pieces of one speaker."""
    random = np.random.default_rng(seed)
    voices = np.linalg.qr(random.normal(size=(192, max(people, default=0) + 1)))[0].T
    noise = random.normal(size=(len(people), 192))
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = np.sqrt(likeness) * voices[people] + np.sqrt(1 - likeness) * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = np.broadcast_to(np.asarray(seconds, dtype=np.float32), (len(people),))
    return pieces(list(range(len(people))), [0] * len(people)), SpeakerEmbeddings(
        (vectors * (lengths > 0)[:, None]).astype(np.float32), lengths.copy()
    )


def pieces(windows: list[int], speakers: list[int]) -> SpeechSegments:
    owner = np.full((max(windows, default=-1) + 1, 4, 3), -1, dtype=np.int32)
    return SpeechSegments(np.array(windows), np.array(speakers), [[(0, 4)] for _ in windows], owner)


def partition(labels: np.ndarray) -> list[int]:
    """Labels renamed in order of appearance, so that two partitions compare."""
    names: dict[int, int] = {}
    return [names.setdefault(int(label), len(names)) for label in labels]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("length", [8, 40, 300])
def test_as_many_people_are_found_as_there_are(count: int, length: int) -> None:
    people = [index % count for index in range(length)]
    assert partition(cluster_segments(*talk(people))) == people


def test_bounds_are_kept_from_both_sides() -> None:
    people = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
    for wanted in (1, 2, 3, 4, 5):
        exact = cluster_segments(*talk(people), min_speakers=wanted, max_speakers=wanted)
        assert sorted(set(exact.tolist())) == list(range(wanted))
    assert len(set(cluster_segments(*talk(people), max_speakers=2))) == 2
    assert len(set(cluster_segments(*talk(people), max_speakers=9))) == 3
    assert len(set(cluster_segments(*talk(people), min_speakers=4))) == 4
    assert len(set(cluster_segments(*talk(people), min_speakers=2))) == 3


def test_more_people_than_pieces_cannot_be_found() -> None:
    assert len(set(cluster_segments(*talk([0, 1]), min_speakers=5))) == 2


def test_without_a_maximum_there_are_no_more_than_a_file_may_have() -> None:
    labels = cluster_segments(*talk([*range(40), *range(40)]))
    assert len(set(labels.tolist())) == MOST_SPEAKERS


def test_two_local_speakers_of_a_window_are_kept_apart_where_voices_are_alike() -> None:
    # Voices that on their own are taken for one; beside each other in a window they are two people's.
    voices = np.eye(192)[:2] + np.eye(192)[2] * 0.9
    said = [0, 1, 0, 1]
    vectors = voices[said] / np.linalg.norm(voices[said], axis=1, keepdims=True)
    prints = SpeakerEmbeddings(vectors.astype(np.float32), np.full(4, 3.0, dtype=np.float32))
    assert len(set(cluster_segments(pieces([0, 1, 2, 3], [0, 0, 0, 0]), prints))) == 1
    assert partition(cluster_segments(pieces([0, 0, 1, 1], said), prints)) == said


def test_a_second_of_an_odd_voice_is_not_a_person() -> None:
    people = [0, 1] * 10 + [2]
    labels = cluster_segments(*talk(people, seconds=[3.0] * 20 + [1.0]))
    assert len(set(labels.tolist())) == 2


@pytest.mark.parametrize(("seconds", "expected"), [(0.55, 1), (3.0, 2)])
def test_a_cluster_of_little_speech_needs_a_larger_distance_to_be_a_speaker(
    seconds: float, expected: int
) -> None:
    """Four segments of one speaker, and four at a cosine distance of 0.66 from them: above the threshold."""
    first, second, third = np.eye(192, dtype=np.float32)[:3]
    other = 0.34 * first + np.sqrt(1 - 0.34**2) * second
    near = 0.95 * other + np.sqrt(1 - 0.95**2) * third
    vectors = np.stack([first, first, first, first, other, other, near, near])
    lengths = np.array([3.0] * 4 + [seconds] * 4, dtype=np.float32)
    if seconds < 1.5:  # too short to be clustered one by one: two longer segments stand for them
        lengths[4:] = [1.5, 1.5, 0.5, 0.5]
    talk_ = pieces(list(range(8)), [0] * 8), SpeakerEmbeddings(vectors.astype(np.float32), lengths)
    assert len(set(cluster_segments(*talk_).tolist())) == expected


def test_short_pieces_go_to_the_voice_they_resemble() -> None:
    people = [0, 1] * 10
    labels = cluster_segments(*talk(people, seconds=[3.0] * 10 + [0.6] * 10))
    assert partition(labels) == people


def test_a_piece_without_a_voice_print_follows_its_local_speaker_or_nobody() -> None:
    _, prints = talk([0, 1, 0, 1, 0, 1], seconds=[3.0, 3.0, 3.0, 3.0, 0.0, 0.0])
    labels = cluster_segments(pieces([0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 1, 0]), prints)
    assert labels.tolist() == [labels[0], labels[1], labels[0], labels[1], labels[1], -1]


def test_silence_has_no_people() -> None:
    assert cluster_segments(*talk([])).tolist() == []
    assert cluster_segments(*talk([0, 1], seconds=0.0), min_speakers=2).tolist() == [-1, -1]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.4, 1.0, 2.0, 4.0])), max_size=40),
    st.sampled_from([-1, 1, 2, 3, 6]),
    st.sampled_from([-1, 1, 2, 3, 6]),
    st.floats(0.05, 0.95),
)
def test_any_talk_gets_labels_within_the_bounds(
    said: list[tuple[int, float]], least: int, most: int, likeness: float
) -> None:
    if -1 not in (least, most) and least > most:
        least, most = most, least
    made, prints = talk([who for who, _ in said], seconds=[length for _, length in said], likeness=likeness)
    labels = cluster_segments(made, prints, min_speakers=least, max_speakers=most)

    assert labels.shape == (len(said),)
    heard = labels[prints.seconds > 0]
    assert (heard >= 0).all()
    found = len(set(heard.tolist()))
    if heard.size:
        assert sorted(set(heard.tolist())) == list(range(found))
    if most > 0:
        assert found <= most
    if least > 0:
        assert found >= min(least, heard.size)
