"""Pipeline folders: checked before anything is loaded from them, and none of their code runs."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batches.recognition.diarization.checkpoints import load_model
from batches.recognition.diarization.pipeline_diarizer import PipelineDiarizer
from batches.recognition.diarization.pipeline_folder import pipeline_problems, read_config
from batches.recognition.errors import ModelUnavailable
from tests.speaker_pipelines import COMMUNITY_1, VERSION_3_1, make_community_1, make_version_3_1


class RunsCode:
    """Object that creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


class Builtin:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.marker)!r}, 'w')",))


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_community_1(tmp_path_factory.mktemp("complete") / "community-1")


@pytest.fixture
def folder(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "mine"))


def rewrite(folder: Path, before: str, after: str) -> None:
    config = folder / "config.yaml"
    text = config.read_text()
    assert before in text
    config.write_text(text.replace(before, after))


def test_both_layouts_are_complete(complete: Path, tmp_path: Path) -> None:
    assert pipeline_problems(complete) == []
    assert pipeline_problems(make_version_3_1(tmp_path / "3.1")) == []


def test_missing_repositories_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(VERSION_3_1)
    assert read_config(tmp_path).missing_repositories == [
        "pyannote/segmentation-3.0",
        "pyannote/wespeaker-voxceleb-resnet34-LM",
    ]
    assert pipeline_problems(tmp_path) == [
        "The segmentation model pyannote/segmentation-3.0 has not been fetched.",
        "The embedding model pyannote/wespeaker-voxceleb-resnet34-LM has not been fetched.",
    ]
    with pytest.raises(ModelUnavailable, match="has not been fetched"):
        PipelineDiarizer(tmp_path)


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    (folder / "embedding" / "pytorch_model.bin").unlink()
    (folder / "plda" / "plda.npz").write_bytes(b"PK")
    assert pipeline_problems(folder) == [
        "embedding/pytorch_model.bin is missing.",
        "plda/plda.npz is damaged.",
    ]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("pyannote.audio.pipelines.SpeakerDiarization", "os.system", "the code os.system"),
        ("VBxClustering", "OracleClustering", "OracleClustering"),
        ("    embedding: $model/embedding\n", "", "no embedding model"),
        ("$model/embedding", "speechbrain/spkrec-ecapa-voxceleb", "not a pyannote checkpoint"),
        ("$model/embedding", "$model/../../etc", "outside the folder"),
        ("$model/plda", "../plda", "outside the folder"),
        ("$model/plda", "nowhere", "does not exist"),
        ("params:\n  clustering", "preprocessors:\n  audio: a.b.C\nparams:\n  clustering", "preprocessors"),
        ("segmentation_step: 0.8", "surprise: 1", "surprise"),
        ("segmentation_step: 0.8", "segmentation_step: [1]", "not a plain value"),
        ("pipeline:", "pipeline: !!python/object/apply:os.system ['true']\nmore:", "not plain YAML"),
        (COMMUNITY_1, "- a list\n", "not a mapping"),
    ],
)
def test_a_config_with_anything_unusual_is_refused(
    folder: Path, before: str, after: str, reason: str
) -> None:
    rewrite(folder, before, after)
    (problem,) = pipeline_problems(folder)
    assert reason in problem
    with pytest.raises(ModelUnavailable, match=r"mine is not loaded|mine is incomplete"):
        PipelineDiarizer(folder)


@pytest.mark.parametrize("kind", [RunsCode, Builtin])
@pytest.mark.parametrize("part", ["segmentation", "embedding"])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    folder: Path, tmp_path: Path, part: str, kind: type[Any]
) -> None:
    marker = tmp_path / "ran"
    file = folder / part / "pytorch_model.bin"
    saved = torch.load(file, weights_only=False)
    torch.save({**saved, "callbacks": kind(marker)}, file)
    with pytest.raises(ModelUnavailable, match="names the code"):
        PipelineDiarizer(folder)
    assert not marker.exists()
    # The same file does run code where nobody looks.
    torch.load(file, weights_only=False)
    assert marker.exists()


def test_a_trusted_folder_is_loaded_as_it_is(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    file = folder / "segmentation" / "pytorch_model.bin"
    torch.save({**torch.load(file, weights_only=False), "callbacks": RunsCode(marker)}, file)
    assert PipelineDiarizer(folder, trusted=True).model == "mine"
    assert marker.exists()


def test_a_plda_with_pickled_arrays_is_refused(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hidden = np.array([RunsCode(marker)], dtype=object)
    np.savez(folder / "plda" / "plda.npz", mu=hidden, tr=hidden, psi=hidden)
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        PipelineDiarizer(folder)
    assert not marker.exists()


def test_a_checkpoint_that_names_another_network_is_refused(folder: Path) -> None:
    file = folder / "embedding" / "pytorch_model.bin"
    saved = torch.load(file, weights_only=False)
    saved["pyannote.audio"]["architecture"] = {"module": "subprocess", "class": "Popen"}
    torch.save(saved, file)
    with pytest.raises(ModelUnavailable, match=r"names the code subprocess\.Popen"):
        load_model(file)


def test_training_state_of_known_libraries_is_passed_over(folder: Path) -> None:
    from pyannote.audio.core.task import UnknownSpecificationsError

    file = folder / "embedding" / "pytorch_model.bin"
    saved = torch.load(file, weights_only=False)
    torch.save({**saved, "callbacks": {"state": UnknownSpecificationsError("x"), "path": Path("a")}}, file)
    assert type(load_model(file)).__name__ == "WeSpeakerResNet34"


def test_an_incomplete_checkpoint_is_named(folder: Path) -> None:
    file = folder / "embedding" / "pytorch_model.bin"
    saved = torch.load(file, weights_only=False)
    name, _ = saved["state_dict"].popitem()
    torch.save(saved, file)
    with pytest.raises(ModelUnavailable, match=f"lacks 1 tensors, such as {name}"):
        load_model(file)
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelUnavailable, match=r"embedding/pytorch_model\.bin"):
        load_model(file)
    file.unlink()
    with pytest.raises(ModelUnavailable, match="is missing"):
        load_model(file)
