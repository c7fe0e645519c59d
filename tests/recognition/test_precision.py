"""Device and precision: resolution of device names, and number types of each device."""

import ast
from pathlib import Path

import pytest
import torch

from batches.recognition.errors import ModelUnavailable
from batches.recognition.runtime import device as devices
from batches.recognition.runtime.device import Precision, choose_device, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def processor(monkeypatch: pytest.MonkeyPatch, *, native: bool, capability: str = "AVX512") -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)


def test_a_gpu_takes_half_precision_and_larger_batches() -> None:
    assert choose_precision("auto", GPU) == Precision(torch.float16, torch.float16)
    assert devices.default_batch_size(GPU) > devices.default_batch_size(CPU)


def test_a_processor_takes_16_bits_only_where_it_multiplies_them_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor(monkeypatch, native=True)
    assert choose_precision("auto", CPU) == Precision(torch.bfloat16, torch.float32)
    processor(monkeypatch, native=False)
    assert choose_precision("auto", CPU).products == torch.float32
    processor(monkeypatch, native=True, capability="AVX2")
    assert choose_precision("auto", CPU).products == torch.float32


@pytest.mark.parametrize("device", [CPU, GPU])
def test_what_the_caller_asks_for_is_taken(device: torch.device) -> None:
    assert choose_precision("float32", device) == Precision(torch.float32, torch.float32)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        choose_precision("int4", CPU)


def two_cards(monkeypatch: pytest.MonkeyPatch, *capabilities: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capabilities[number])
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])


def test_the_device_is_a_gpu_where_there_is_one_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cards(monkeypatch, (8, 6), (9, 0))
    assert choose_device() == GPU
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == CPU
    with pytest.raises(ModelUnavailable, match="2 GPUs"):
        choose_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == CPU
    with pytest.raises(ModelUnavailable, match="nvidia-smi"):
        choose_device("cuda")


def test_a_gpu_that_torch_was_not_built_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two_cards(monkeypatch, (7, 0), (8, 6))
    assert choose_device() == torch.device("cuda", 1)
    with pytest.raises(ModelUnavailable, match="not built for the GPU of the device 'cuda'"):
        choose_device("cuda")
    two_cards(monkeypatch, (7, 0), (12, 0))
    assert choose_device() == CPU


@pytest.mark.parametrize("name", ["gpu", "mps", ""])
def test_a_device_that_recognition_does_not_run_on_is_refused(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="device"):
        choose_device(name)


def test_the_memory_functions_do_nothing_on_a_cpu() -> None:
    assert devices.limit_memory(CPU, 5) == 5
    assert devices.peak_memory(CPU) == 0
    devices.synchronise(CPU)
    devices.release_memory(CPU)


def test_no_other_module_asks_for_a_gpu_by_name() -> None:
    folder = Path(devices.__file__).parents[1]
    modules = [path for path in folder.rglob("*.py") if path != Path(devices.__file__)]
    assert len(modules) > 30
    named = [
        f"{path.name}:{node.lineno}"
        for path in modules
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("cuda")
    ]
    assert named == []
