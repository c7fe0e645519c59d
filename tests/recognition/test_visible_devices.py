"""Which GPUs an engine process sees, and their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from batches.recognition.runtime import gpu_probe
from batches.recognition.runtime.engine_process import clean_environment

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
