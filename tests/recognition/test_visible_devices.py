"""Which GPUs an engine process sees, and their numbers."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from batches.recognition import registry
from batches.recognition.asr import openai_whisper
from batches.recognition.errors import ModelUnavailable
from batches.recognition.providers import LoadSettings
from batches.recognition.runtime import device as devices
from batches.recognition.runtime import gpu_probe
from batches.recognition.runtime.batching import BatchKind
from batches.recognition.runtime.engine import Engine
from batches.recognition.runtime.engine_process import clean_environment
from batches.recognition.runtime.pool import EngineConfig, EnginePool
from batches.recognition.runtime.visible_devices import isolate

ORDER_AS_VERSION = """
import os
__version__ = os.environ.get("CUDA_DEVICE_ORDER")
class version: cuda = None
class cuda:
    is_available = staticmethod(lambda: False)
"""


@pytest.mark.parametrize(("given", "order"), [("", "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_the_probe_and_the_engine_number_cards_alike(
    given: str, order: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the order of the bus, as nvidia-smi does, unless the operator has chosen another."""
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    inherited = {"CUDA_DEVICE_ORDER": given} if given else {}
    for name, value in inherited.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(ORDER_AS_VERSION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert gpu_probe.ask(tmp_path / "none").torch == order
    assert clean_environment(1, tmp_path, inherited)["CUDA_DEVICE_ORDER"] == order


@pytest.mark.parametrize(
    ("device", "visible", "name", "only"),
    [
        ("cuda:0", None, "cuda", "0"),
        ("cuda:3", None, "cuda", "3"),
        ("cuda:1", "2,5", "cuda", "5"),
        ("cuda:1", "GPU-1a, GPU-2b", "cuda", "GPU-2b"),
        ("cuda:0", "MIG-77", "cuda", "MIG-77"),
        # Left to torch to report.
        ("cuda:2", "2,5", "cuda:2", None),
        ("cuda:1", "0,-1,1", "cuda:1", None),
        ("cuda:0", "", "cuda:0", None),
        ("cuda", "2,5", "cuda", None),
        ("cpu", None, "cpu", None),
    ],
)
def test_a_process_of_one_card_sees_no_other(
    device: str, visible: str | None, name: str, only: str | None
) -> None:
    inherited = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert isolate(device, inherited) == (name, {} if only is None else {"CUDA_VISIBLE_DEVICES": only})


def test_each_engine_process_has_its_card_alone_under_the_name_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """CUDA graphs, events and streams use the current card of a thread, which is the first that it sees."""
    started: list[tuple[list[str], dict[str, str]]] = []
    popen = subprocess.Popen

    def start(command: list[str], *, env: dict[str, str], **options: Any) -> subprocess.Popen[bytes]:
        started.append((command, env))
        return popen(["/bin/true"], env=env, **options)

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1a,GPU-2b")
    monkeypatch.setattr(subprocess, "Popen", start)
    pool = EnginePool(EngineConfig(), devices=["cuda:0", "cuda:1"], files_at_once=1, scratch=tmp_path)
    pool.tick()
    for (command, environment), card in zip(started, ("GPU-1a", "GPU-2b"), strict=True):
        assert "--device=cuda" in command
        assert environment["CUDA_VISIBLE_DEVICES"] == card
    while len(pool.ends) < 2:
        time.sleep(0.02)
        pool.tick()
    assert [endpoint.device for endpoint in pool.endpoints] == ["cuda:0", "cuda:1"]
    assert {end["device"] for end in pool.ends} == {"cuda:0", "cuda:1"}
    assert "of cuda:1 ended" in caplog.text
    pool.close()


def test_the_card_of_an_engine_is_the_current_one_of_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine in a process that sees several cards, such as a program of one's own."""
    current = threading.local()
    card = torch.device("cuda", 1)

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.device = device
        yield
        current.device = None

    def make_current(device: torch.device) -> None:
        current.device = device

    def look(items: list[None]) -> list[torch.device | None]:
        return [getattr(current, "device", None) for _ in items]

    found: list[torch.device | None] = []

    def load(_reference: str, settings: LoadSettings) -> Any:
        found.extend(look([None]))
        (future,) = settings.batches.submit(BatchKind(look, 1), [None])
        found.append(future.result())
        raise ModelUnavailable("seen")

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "set_device", make_current)
    monkeypatch.setattr(devices, "choose_device", lambda _name: card)
    provider = replace(openai_whisper.PROVIDER, load=load)
    monkeypatch.setattr(registry, "find_recogniser", lambda *_arguments: provider)
    with Engine(device="cuda:1") as engine, pytest.raises(ModelUnavailable, match="seen"):
        engine._load_recogniser()
    assert found == [card, card]


SMI = """#!/bin/sh
echo "GPU-1a, 0, Card A, 8192, 1, 10"
echo "GPU-2b, 1, Card B, 8192, 2, 20"
echo "GPU-3c, 2, Card C, 8192, 3, 30"
"""


@pytest.mark.parametrize("visible", ["2,0", "GPU-3c,GPU-1a"])
def test_the_use_of_cards_is_told_by_the_number_that_an_engine_has(
    visible: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [(card.number, card.name, card.load) for card in gpu_probe.usage()] == [
        (0, "Card C", 30),
        (1, "Card A", 10),
    ]


def test_what_hides_the_cards_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelUnavailable, match=r"GPU here \(CUDA_VISIBLE_DEVICES=7\)\."):
        devices.choose_device("cuda")
