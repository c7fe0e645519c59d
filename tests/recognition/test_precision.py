"""Which numbers are multiplied, on which machine; and how many chunks at once."""

import pytest
import torch

from batches.recognition.asr.whisper_model import choose_precision
from batches.recognition.runtime.engine import BATCH_SIZES, Engine


def processor(monkeypatch: pytest.MonkeyPatch, *, native: bool, capability: str = "AVX512") -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)


def test_a_gpu_takes_half_precision_and_larger_batches() -> None:
    assert choose_precision("auto", "cuda") == torch.float16
    assert BATCH_SIZES["cuda"] > BATCH_SIZES["cpu"]


def test_a_processor_takes_16_bits_only_where_it_multiplies_them_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor(monkeypatch, native=True)
    assert choose_precision("auto", "cpu") == torch.bfloat16
    processor(monkeypatch, native=False)
    assert choose_precision("auto", "cpu") == torch.float32
    processor(monkeypatch, native=True, capability="AVX2")
    assert choose_precision("auto", "cpu") == torch.float32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_the_caller_asks_for_is_taken(device: str) -> None:
    assert choose_precision("float32", device) == torch.float32


def test_the_device_is_cuda_where_there_is_one_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Engine()._chosen_device() == "cuda"
    assert Engine(device="cpu")._chosen_device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Engine()._chosen_device() == "cpu"
