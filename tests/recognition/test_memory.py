"""Memory that a model needs, and the behaviour when there is less."""

import errno
import resource
from pathlib import Path

import pytest

from batches.recognition.errors import EngineUnavailable, HostExhausted, ModelTooLarge, RecognitionError
from batches.recognition.models import gpu_memory, memory
from batches.recognition.models.dimensions import WhisperDimensions
from batches.recognition.options import Options
from batches.recognition.runtime.load_errors import as_installation_faults
from batches.recognition.runtime.memory_check import require_memory
from batches.recognition.runtime.pool import MEMORY_LIMIT_FILE
from tests.recognition.checkpoints import random_state, write_hugging_face
from tests.recognition.engine_pools import client_of, engines
from tests.sample_speech import sample_folder

BASE = WhisperDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
TURBO = WhisperDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4)


def test_parameters_are_those_of_the_published_models() -> None:
    assert BASE.parameters == 72_593_920
    assert TURBO.parameters == 808_878_080


def test_weights_follow_from_the_number_type() -> None:
    half, single = (memory.need_on_cpu(TURBO, number_bytes=size) for size in (2, 4))
    assert 1.7e9 < half.weights < 1.9e9
    assert 3.2e9 < single.weights < 3.4e9
    assert gpu_memory.least_need(TURBO).weights < 2e9


def test_the_limit_is_above_the_need_and_grows_with_the_batch() -> None:
    small, large = (memory.need_on_cpu(TURBO, number_bytes=2, rows=rows) for rows in (8, 16))
    assert small.limit > small.total * 1.3
    assert large.cache == 2 * small.cache
    assert large.total > small.total


def test_too_little_memory_is_said_in_one_sentence() -> None:
    need = memory.need_on_cpu(TURBO, number_bytes=2)
    memory.require("large-v3-turbo", need, need.total)
    with pytest.raises(ModelTooLarge) as caught:
        memory.require("large-v3-turbo", need, 2_100_000_000)
    expected = f"large-v3-turbo needs {need.total / 1e9:.1f} GB of memory here, 2.1 GB are free."
    assert caught.value.message == expected
    assert not caught.value.permanent
    told = RecognitionError.from_dict(caught.value.to_dict())
    assert isinstance(told, ModelTooLarge)
    assert told.details["free_bytes"] == 2_100_000_000


def test_available_memory_is_that_of_this_machine() -> None:
    assert 0 < memory.available() < 1 << 50


def test_a_limit_of_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.available()
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (memory.GIB, memory.GIB))
    assert memory.most() == memory.GIB
    assert memory.available() < min(free, memory.GIB)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("unable to mmap 9 bytes"), EngineUnavailable),
        (ImportError("libtorch_cpu.so: cannot open shared object file"), EngineUnavailable),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), HostExhausted),
        (MemoryError(), MemoryError),
        (ModelTooLarge(name="base", need_bytes=1, free_bytes=0), ModelTooLarge),
    ],
)
def test_what_keeps_models_from_loading_is_no_fault_of_a_file(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind), as_installation_faults():
        raise error


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_hugging_face(tmp_path / "hf", random_state())
    assert require_memory(tmp_path, str(folder), device="cpu") > memory.GIB
    monkeypatch.setattr(memory, "available", lambda: 100 * memory.MIB)
    with pytest.raises(ModelTooLarge):
        require_memory(tmp_path, str(folder), device="cpu")


def test_one_engine_serves_several_models_within_the_computed_limit(tmp_path: Path) -> None:
    """Requests name the model; the owner takes the limit that the engine computes."""
    small, other = (write_hugging_face(tmp_path / name, random_state()) for name in ("small", "other"))
    sample = sample_folder() / "sample.wav"
    with engines(tmp_path / "scratch", readable=(small, other)) as pool, client_of(pool) as client:
        for folder in (small, other):
            options = Options(language="en", whisper_model=str(folder))
            assert client.transcribe(sample, options).engine["model"] == folder.name
            limit = int((pool.endpoints[0].path("") / MEMORY_LIMIT_FILE).read_text())
            assert limit == require_memory(tmp_path, str(folder), device="cpu")
        assert len(pool.pids) == 1
