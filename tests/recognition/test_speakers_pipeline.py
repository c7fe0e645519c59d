"""Whole pyannote pipelines from folders, in the layouts of community-1 and of 3.1."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batches.recognition.diarization.campplus import load_campplus
from batches.recognition.diarization.pipeline_diarizer import PipelineDiarizer
from batches.recognition.errors import GpuMemoryExhausted, ModelUnavailable
from batches.recognition.media.decoding import Samples
from batches.recognition.runtime.load_errors import is_hopeless
from tests.sample_speech import load_sample
from tests.speaker_pipelines import make_community_1, make_version_3_1, write_embedding


class Cancelled(Exception):
    pass


def ignore(_share: float) -> None:
    return


@pytest.fixture(scope="module")
def sample() -> Samples:
    return load_sample()


@pytest.fixture(scope="module")
def community_1(tmp_path_factory: pytest.TempPathFactory) -> PipelineDiarizer:
    return PipelineDiarizer(make_community_1(tmp_path_factory.mktemp("pipelines") / "community-1"))


@pytest.fixture(scope="module")
def version_3_1(tmp_path_factory: pytest.TempPathFactory) -> PipelineDiarizer:
    return PipelineDiarizer(
        make_version_3_1(tmp_path_factory.mktemp("pipelines") / "3.1"), model="pyannote/3.1"
    )


@pytest.fixture(params=["community_1", "version_3_1"])
def diarizer(request: pytest.FixtureRequest) -> PipelineDiarizer:
    found: PipelineDiarizer = request.getfixturevalue(request.param)
    return found


def test_a_pipeline_gives_turns_like_the_local_models(
    diarizer: PipelineDiarizer, sample: Samples, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: list[float] = []
    cut = sample[16_000 * 6 : 16_000 * 18]
    turns = diarizer.diarize(cut, max_speakers=1, progress=shares.append)

    assert {turn.speaker for turn in turns} == {"1"}
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(0 <= turn.start < turn.end <= 12_000 for turn in turns)
    assert sum(turn.end - turn.start for turn in turns) > 8_000
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    assert shares[-1] == 1.0
    assert capsys.readouterr().out == ""


def test_the_number_of_speakers_is_kept(diarizer: PipelineDiarizer, sample: Samples) -> None:
    cut = sample[16_000 * 6 : 16_000 * 30]
    turns = diarizer.diarize(cut, min_speakers=2, max_speakers=2, progress=ignore)
    assert turns[0].speaker == "1"
    assert {turn.speaker for turn in turns} == {"1", "2"}


def test_more_speakers_than_a_short_file_can_have(diarizer: PipelineDiarizer, sample: Samples) -> None:
    turns = diarizer.diarize(sample[16_000 * 6 : 16_000 * 16], min_speakers=20, progress=ignore)
    assert turns
    assert len({turn.speaker for turn in turns}) < 20


def test_a_call_is_cancelled_by_its_progress(diarizer: PipelineDiarizer, sample: Samples) -> None:
    seen: list[float] = []

    def cancel(share: float) -> None:
        seen.append(share)
        if share > 0.1:
            raise Cancelled

    with pytest.raises(Cancelled):
        diarizer.diarize(sample[: 16_000 * 20], progress=cancel)
    assert max(seen) < 0.9
    # Afterwards the pipeline serves the next call.
    assert diarizer.diarize(sample[16_000 * 6 : 16_000 * 12], progress=ignore)


def test_a_call_that_waits_for_another_is_cancelled(community_1: PipelineDiarizer, sample: Samples) -> None:
    cut = sample[16_000 * 6 : 16_000 * 12]
    community_1._turn.acquire()
    calls = 0

    def cancel(_share: float) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Cancelled

    try:
        with pytest.raises(Cancelled):
            community_1.diarize(cut, progress=cancel)
    finally:
        community_1._turn.release()
    assert community_1.diarize(cut, progress=ignore)


def test_silence_has_no_turns(diarizer: PipelineDiarizer) -> None:
    assert diarizer.diarize(np.zeros(48_000, dtype=np.float32), progress=ignore) == []
    assert diarizer.diarize(np.zeros(0, dtype=np.float32), progress=ignore) == []


def test_impossible_bounds_are_refused(diarizer: PipelineDiarizer, sample: Samples) -> None:
    with pytest.raises(ValueError, match="speakers"):
        diarizer.diarize(sample, min_speakers=3, max_speakers=2, progress=ignore)


def test_a_pipeline_has_the_name_that_the_operator_gave(
    community_1: PipelineDiarizer, version_3_1: PipelineDiarizer
) -> None:
    assert (community_1.model, version_3_1.model) == ("community-1", "pyannote/3.1")


def test_a_folder_without_a_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=tmp_path.name):
        PipelineDiarizer(tmp_path)


def test_a_wespeaker_checkpoint_is_not_taken_for_camplusplus(tmp_path: Path) -> None:
    write_embedding(tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"WeSpeakerResNet34.*config\.yaml"):
        load_campplus(tmp_path / "pytorch_model.bin")


class SmallCard:
    """Stand-in for a GPU with memory for batches of ``fits`` windows: torch raises as it does there."""

    def __init__(self, diarizer: PipelineDiarizer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits = 8
        pipeline = diarizer._pipeline
        monkeypatch.setattr(diarizer, "_device", torch.device("cuda"))
        network = pipeline._segmentation.model
        monkeypatch.setattr(network, "forward", self.limit(network.forward))
        embedding = type(pipeline._embedding)
        monkeypatch.setattr(embedding, "__call__", self.limit(embedding.__call__))

    def limit(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if len(arguments[-1]) > self.fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return function(*arguments, **options)

        return run


@pytest.fixture
def card(community_1: PipelineDiarizer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallCard]:
    sizes = community_1._batch_sizes()
    assert max(sizes.values()) > 2
    yield SmallCard(community_1, monkeypatch)
    community_1._set_batch_sizes(sizes)


def test_a_card_with_too_little_memory_gets_smaller_batches(
    community_1: PipelineDiarizer, card: SmallCard, sample: Samples
) -> None:
    """pyannote turns torch's error into MemoryError, which would end the engine with its other files."""
    cut = sample[16_000 * 6 : 16_000 * 26]
    expected = community_1.diarize(cut, progress=ignore)
    card.fits = 2
    shares: list[float] = []
    assert community_1.diarize(cut, progress=shares.append) == expected
    assert shares == sorted(shares)
    assert set(community_1._batch_sizes().values()) <= {1, 2}


def test_a_file_that_no_batch_size_fits_fails_alone(
    community_1: PipelineDiarizer, card: SmallCard, sample: Samples
) -> None:
    cut = sample[16_000 * 6 : 16_000 * 26]
    before = community_1._batch_sizes()
    card.fits = 0
    with pytest.raises(GpuMemoryExhausted, match=r"graphics card's memory.*community-1") as caught:
        community_1.diarize(cut, progress=ignore)
    assert not is_hopeless(caught.value)
    assert not caught.value.permanent
    assert community_1._batch_sizes() == before
    card.fits = 8
    assert community_1.diarize(cut, progress=ignore)


def test_main_memory_that_is_used_up_is_no_matter_of_batches(
    community_1: PipelineDiarizer, card: SmallCard, sample: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise MemoryError("Unable to allocate 2.00 GiB for an array")

    monkeypatch.setattr(community_1, "_pipeline", fail)
    with pytest.raises(MemoryError, match="Unable"):
        community_1.diarize(sample[: 16_000 * 12], progress=ignore)
