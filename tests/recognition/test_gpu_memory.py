"""GPU memory of an engine process: plan, limit and setting."""

from __future__ import annotations

import threading
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from batches.recognition.asr import faster_whisper
from batches.recognition.asr.chunk_decoder import DecodeRequest
from batches.recognition.asr.continuous.loading import load_decoder
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.whisper_recogniser import WhisperRecogniser
from batches.recognition.errors import ModelTooLarge
from batches.recognition.models.dimensions import WhisperDimensions
from batches.recognition.models.gpu_memory import (
    LEAST_ROWS,
    bytes_per_row,
    least_need,
    plan_batches,
    plan_ctranslate2,
)
from batches.recognition.models.memory import GIB, MIB
from batches.recognition.models.store import ModelStore
from batches.recognition.options import Options
from batches.recognition.providers import LoadSettings
from batches.recognition.runtime import device as devices
from batches.recognition.runtime import memory_check
from batches.recognition.runtime.batching import BatchThread
from batches.recognition.runtime.engine import Engine
from tests.recognition.checkpoints import random_state, write_hugging_face
from tests.recognition.continuous.small_model import (
    ALIGNMENT_HEADS,
    CPU,
    DIMS,
    noises,
    small_weights,
    state_dict,
    tokenizer,
)
from tests.recognition.gpu_engine import run_as_on_a_gpu
from tests.sample_speech import sample_folder

BASE = WhisperDimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
TURBO = WhisperDimensions(128, 1500, 1280, 20, 32, 51866, 448, 1280, 20, 4)
LARGE_V3 = replace(TURBO, n_text_layer=32)
SMALL = WhisperDimensions(**asdict(DIMS))
HALF = 2  # bytes of a float16


def test_a_smaller_card_gets_smaller_batches_that_fit() -> None:
    plans = [plan_batches(TURBO, memory=size * GIB) for size in (16, 12, 8)]
    assert all(plan.need.total <= size * GIB for plan, size in zip(plans, (16, 12, 8), strict=True))
    rows = [plan.rows for plan in plans]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] > rows[-1] >= LEAST_ROWS
    assert plan_batches(BASE, memory=16 * GIB).rows == 256


def test_what_is_shown_as_the_need_is_the_smallest_plan() -> None:
    for dims in (BASE, TURBO):
        need = least_need(dims).total
        assert plan_batches(dims, memory=need).rows == LEAST_ROWS
        assert plan_batches(dims, memory=need - 1).need.total > need - 1


def test_a_row_takes_what_is_computed() -> None:
    """The tensors of a real static batch, beside the arithmetic that the plan is made with."""
    weights = small_weights(torch.float16)
    batch = StaticBatch(weights, rows=16, frames=150)
    tensors = [*batch.cross, *batch.cache, batch.queries]
    taken = sum(tensor.nbytes for tensor in tensors)
    assert taken == 16 * bytes_per_row(SMALL, 150, len(ALIGNMENT_HEADS), HALF)
    everything = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    everything += [*batch.cross, *batch.cache]
    assert sum(tensor.nbytes for tensor in everything) < 1.1 * taken


def test_faster_whisper_needs_less_of_a_card_than_our_decoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CTranslate2 has no static batches: a card that is too small for ours may serve the model with it."""
    free = 8 * GIB
    monkeypatch.setattr(devices, "choose_device", lambda _name: torch.device("cuda"))
    monkeypatch.setattr(devices, "limit_memory", lambda _device, limit: min(free, limit))
    monkeypatch.setattr(memory_check, "read_dimensions", lambda _path: LARGE_V3)
    monkeypatch.setattr(faster_whisper, "read_dimensions", lambda _path: LARGE_V3)
    model = str(write_hugging_face(tmp_path / "large", random_state()))
    assert memory_check.require_memory(tmp_path, model, recogniser="faster-whisper") == 0
    with pytest.raises(ModelTooLarge):
        memory_check.require_memory(tmp_path, model, recogniser="whisper")
    need = plan_ctranslate2(LARGE_V3, memory=0).need
    assert need.weights == HALF * LARGE_V3.parameters
    assert need.total < free < least_need(LARGE_V3).total
    # The batches are those that fit.
    settings = LoadSettings(
        store=ModelStore(), device=torch.device("cuda"), batches=BatchThread("none"), gpu_memory=free
    )
    rows = [plan_ctranslate2(LARGE_V3, memory=size * GIB).rows for size in (8, 16, 64)]
    assert rows == sorted(rows)
    assert 1 <= rows[0] < rows[-1] == devices.default_batch_size(settings.device)
    assert faster_whisper._batch_size(tmp_path, settings) == rows[0]
    free = need.total - 1
    with pytest.raises(ModelTooLarge):
        memory_check.require_memory(tmp_path, model, recogniser="faster-whisper")


@pytest.fixture(scope="module")
def need() -> int:
    return plan_batches(SMALL, memory=0, alignment_heads=len(ALIGNMENT_HEADS)).need.total


def test_the_gpu_decoder_takes_the_batches_that_its_memory_allows(need: int) -> None:
    """Float16, as on a GPU; a smaller batch gives the same texts."""
    texts = []
    for memory, rows in ((need, LEAST_ROWS), (16 * GIB, 8)):
        decoder, plan = load_decoder(
            DIMS, state_dict(), ALIGNMENT_HEADS, tokenizer, device=CPU, precision="float16", memory=memory
        )
        try:
            assert plan.rows == rows
            requests = [DecodeRequest(samples, "en") for samples in noises(6)]
            texts.append([future.result().tokens for future in decoder.decode(requests)])
        finally:
            decoder.close()
    assert texts[0] == texts[1]
    assert all(texts[0])


def test_a_card_that_is_too_small_is_said_in_one_sentence(need: int) -> None:
    with pytest.raises(ModelTooLarge) as caught:
        load_decoder(
            DIMS,
            state_dict(),
            ALIGNMENT_HEADS,
            tokenizer,
            name="tiny",
            device=CPU,
            precision="float16",
            memory=need - MIB,
        )
    assert caught.value.message.startswith(f"tiny needs {need / 1e9:.1f} GB of the graphics card's memory")
    assert "SPEECHPORTAL_GPU_MEMORY_MB" in caught.value.message


def test_the_engine_gives_its_setting_to_the_gpu_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's path for a GPU, run on the CPU: settings, plan, decoder, transcript."""
    run_as_on_a_gpu(monkeypatch)
    folder = write_hugging_face(tmp_path / "random", random_state())
    options: dict[str, Any] = {"whisper_model": str(folder), "device": "cpu", "precision": "float16"}
    with Engine(gpu_memory=6 * GIB, **options) as engine:
        recogniser = engine._load_recogniser()
        assert isinstance(recogniser, WhisperRecogniser)
        engine.load()
        audio = engine.load_audio(sample_folder() / "sample.wav", Options(language="en"), lambda *_: None)
        transcript = engine.transcribe(audio, Options(language="en"), lambda *_: None)
        assert transcript.engine["model"] == "random"
    with Engine(gpu_memory=GIB, **options) as engine, pytest.raises(ModelTooLarge):
        engine.load()


def test_a_model_that_is_given_up_leaves_neither_threads_nor_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the next model finds the GPU full, and uses the smallest batches."""
    run_as_on_a_gpu(monkeypatch)
    folder = write_hugging_face(tmp_path / "random", random_state())
    before = {thread.name for thread in threading.enumerate()}
    engine = Engine(whisper_model=str(folder), device="cpu", precision="float16")
    engine.load()
    assert "continuous-decoder" in {thread.name for thread in threading.enumerate()} - before
    recogniser = engine._load_recogniser()
    assert isinstance(recogniser, WhisperRecogniser)
    audio = engine.load_audio(sample_folder() / "sample.wav", Options(language="en"), lambda *_: None)
    engine.transcribe(audio, Options(language="en"), lambda *_: None)
    kept = weakref.ref(recogniser._decoder)
    assert kept() is not None
    del recogniser
    engine.close()
    devices.release_memory(CPU)
    assert kept() is None
    assert {thread.name for thread in threading.enumerate()} <= before
