"""Shared fixtures of the recognition tests: loading the models takes seconds."""

from collections.abc import Iterator

import pytest

from batches.recognition.runtime.engine import Engine
from tests.recognition.gpu_engine import run_as_on_a_gpu


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The real engine with the real models. It keeps nothing of a file."""
    return Engine()


@pytest.fixture(scope="module", params=["queued", "continuous"])
def either_engine(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """The engine with the decoder for CPUs, and with that for GPUs in float32."""
    if request.param == "queued":
        yield engine
        return
    with Engine(precision="float32") as continuous:
        with pytest.MonkeyPatch.context() as monkeypatch:
            run_as_on_a_gpu(monkeypatch)
            continuous.load()
        yield continuous
