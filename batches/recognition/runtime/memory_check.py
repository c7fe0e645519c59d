"""Memory check: whether a Whisper model fits into this machine's memory, before it is loaded."""

from __future__ import annotations

from pathlib import Path

from batches.recognition import registry
from batches.recognition.models import memory
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY, GPU_MEMORY, plan_for
from batches.recognition.models.store import ModelStore

_WHISPER = {"whisper", "faster-whisper"}  # recognisers whose need follows from the model's dimensions


def require_memory(
    models_dir: Path,
    whisper_model: str,
    *,
    recogniser: str = "",
    device: str = "auto",
    batch_size: int = 0,
    gpu_memory: int = DEFAULT_GPU_MEMORY,
) -> int:
    """Memory limit in bytes of the process that runs the model; 0 for no limit.

    There is none on a GPU, whose memory is the limit, nor for other recognisers, whose need is unknown.

    Raises ModelUnavailable, and ModelTooLarge if less memory is free than the model needs.
    """
    from batches.recognition.runtime.device import (
        choose_device,
        choose_precision,
        is_gpu,
        limit_memory,
    )

    store = ModelStore(models_dir)
    name = registry.find_recogniser(whisper_model, store, recogniser).name
    if name not in _WHISPER:
        return 0
    dims = read_dimensions(store.whisper(whisper_model).path)
    chosen = choose_device(device)
    if is_gpu(chosen):
        allowed = limit_memory(chosen, gpu_memory)
        plan = plan_for(name, dims, memory=allowed, rows=batch_size)
        memory.require(whisper_model, plan.need, allowed, of=GPU_MEMORY)
        return 0
    number_bytes = choose_precision("auto", chosen).products.itemsize
    need = memory.need_on_cpu(dims, number_bytes=number_bytes, rows=batch_size or memory.CPU_ROWS)
    memory.require(whisper_model, need, memory.available())
    return need.limit
