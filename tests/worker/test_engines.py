"""Engine processes as the settings describe them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from batches.worker import engines
from batches.worker.engines import ClusterEngines


@pytest.fixture(autouse=True)
def forget_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_endpoints", ())


def test_a_cpu_has_an_engine_for_each_recognition_worker(settings: Settings) -> None:
    settings.RECOGNITION_WORKERS = 3
    settings.RECOGNITION_DEVICE = "cpu"
    assert engines.devices() == ["cpu"] * 3
    assert engines.files_at_once("cpu") == 2


def test_each_card_has_an_engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_usable_cards", lambda: [0, 1])
    for wanted, found in {
        "auto": ["cuda:0", "cuda:1"],
        "cuda": ["cuda:0", "cuda:1"],
        "cuda:1": ["cuda:1"],
        "cuda:1, cuda:3": ["cuda:1", "cuda:3"],
    }.items():
        settings.RECOGNITION_DEVICE = wanted
        assert engines.devices() == found
    assert engines.files_at_once("cuda:0") == 16
    settings.FILES_AT_ONCE = 4
    assert engines.files_at_once("cuda:0") == engines.files_at_once("cpu") == 4


def test_a_card_that_is_not_there_is_left_to_the_engine_to_report(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_usable_cards", list)
    settings.RECOGNITION_DEVICE = "cuda"
    assert engines.devices() == ["cuda"]


def test_the_cluster_has_a_worker_for_each_file_that_its_engines_take(settings: Settings) -> None:
    settings.RECOGNITION_DEVICE = "cpu"
    settings.RECOGNITION_WORKERS = 2
    settings.FILES_AT_ONCE = 3
    companion = ClusterEngines()
    endpoints = engines._endpoints
    assert companion.workers == 6
    assert [(endpoint.number, endpoint.files_at_once) for endpoint in endpoints] == [(0, 3), (1, 3)]
    folder = endpoints[0].folder
    assert folder.is_relative_to(settings.WORK_DIR)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    companion.close()
    assert not folder.exists()


def test_a_model_outside_of_the_models_folder_is_readable_for_the_engine(
    settings: Settings, tmp_path: Path
) -> None:
    assert engines.config().readable == ()
    settings.WHISPER_MODELS = [str(tmp_path / "fine-tuned")]
    assert engines.config().readable == (tmp_path / "fine-tuned",)
    assert f"--readable={tmp_path / 'fine-tuned'}" in engines.config().arguments("cpu")
