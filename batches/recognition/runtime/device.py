"""Device and precision: where models run and which number types they use.

Both are decided only here. All other modules take a ``torch.device`` and a :class:`Precision`, create their
tensors with them, and never refer to "cuda" by name. The memory functions hide the differences between a GPU,
which has its own caching allocator, and the CPU.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.runtime import gpu_probe
from batches.recognition.runtime.visible_devices import VISIBLE_DEVICES, visible_devices

_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
GPU = "cuda"  # the first GPU, as an operator names it
PRECISIONS = ("auto", *_TYPES)
_SWITCH_SECONDS = 0.0002
_GATHER_SECONDS = 0.003
_STREAMS = 32
_streams: weakref.WeakSet[torch.cuda.Stream] = weakref.WeakSet()  # in use
# Held while a thread captures a CUDA graph: one capture at a time, and meanwhile no other thread may wait for
# the whole GPU or give memory back to it.
CAPTURING = threading.RLock()


@dataclass(frozen=True, slots=True)
class Precision:
    """Number types of one model.

    ``products`` is the type of weights, matrix products and KV caches. ``sums`` is the type of the residual
    stream between layers: float32 on a CPU, where it costs nothing, and ``products`` on a GPU.
    """

    products: torch.dtype
    sums: torch.dtype


def choose_device(name: str = "auto") -> torch.device:
    """Device of that name: "auto", "cpu", "cuda" or "cuda:1". "auto" selects a usable GPU if there is one.

    Raises ModelUnavailable if the device does not exist here, or torch was not built for it.
    """
    if name == "auto":
        return _any_device()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelUnavailable(
            f"There is no device named '{name}'. Use auto, cpu, cuda or cuda:1."
        ) from error
    if device.type not in ("cpu", "cuda"):
        raise ModelUnavailable(f"Recognition does not run on the device '{name}'. Use auto, cpu or cuda.")
    if is_gpu(device):
        if not torch.cuda.is_available():
            raise ModelUnavailable(
                f"The device '{name}' was asked for, but torch finds no NVIDIA GPU here{_among()}. "
                "Check the driver with nvidia-smi, and that torch is a CUDA build."
            )
        if (device.index or 0) >= torch.cuda.device_count():
            raise ModelUnavailable(f"The device '{name}' does not exist: {torch.cuda.device_count()} GPUs.")
        if not _is_usable(device.index or 0):
            raise ModelUnavailable(
                f"PyTorch {torch.__version__} was not built for the GPU of the device '{name}'. "
                "Run manage.py doctor, which names the remedy."
            )
    return device


def _any_device() -> torch.device:
    """First GPU that torch was built for, or the CPU."""
    if torch.cuda.is_available():
        for number in filter(_is_usable, range(torch.cuda.device_count())):
            return torch.device(GPU, number) if number else torch.device(GPU)
    return torch.device("cpu")


def _is_usable(number: int) -> bool:
    return gpu_probe.built_for(torch.cuda.get_device_capability(number), torch.cuda.get_arch_list())


def _among() -> str:
    """The GPUs that this process is limited to, for a sentence."""
    names = visible_devices(os.environ)
    return "" if names is None else f" ({VISIBLE_DEVICES}={','.join(names)})"


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Number types for a device: "float32", "bfloat16", "float16" or "auto".

    "auto" selects the fastest one without loss of accuracy: float16 on a GPU (bfloat16 changes one text in
    seven), and on a CPU bfloat16 if the processor supports it natively. Emulated, it is several times slower
    than float32.
    """
    if wanted not in PRECISIONS:
        raise ValueError(f"There is no precision {wanted!r}, only {', '.join(PRECISIONS)}.")
    if wanted != "auto":
        products = _TYPES[wanted]
    elif is_gpu(device):
        products = torch.float16
    else:
        products = torch.bfloat16 if _multiplies_bfloat16() else torch.float32
    return Precision(products, products if is_gpu(device) else torch.float32)


def _multiplies_bfloat16() -> bool:
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001 - torch offers no other way to ask
    # ATEN_CPU_CAPABILITY may disable instruction sets that the processor has.
    return bool(native) and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def is_gpu(device: torch.device) -> bool:
    """Whether the device is a GPU: asynchronous, and with its own memory."""
    return device.type == "cuda"


def describe(device: torch.device) -> str:
    """Description of the device for people: its name and memory."""
    if not is_gpu(device):
        return f"CPU, {torch.get_num_threads()} threads"
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def default_batch_size(device: torch.device) -> int:
    """Default number of chunks decoded at once."""
    return 128 if is_gpu(device) else 8


def gather_seconds(device: torch.device) -> float:
    """Seconds to wait for more items for an incomplete batch: a GPU takes as long for a small batch."""
    return _GATHER_SECONDS if is_gpu(device) else 0.0


def synchronise(device: torch.device) -> None:
    """Wait until the device has completed all submitted work. Does nothing on a CPU."""
    if is_gpu(device):
        with CAPTURING:
            torch.cuda.synchronize(device)


def new_stream(device: torch.device) -> torch.cuda.Stream:
    """Stream of a GPU that nobody else uses while it is referenced.

    torch has 32 of them, which it hands out in turn, whether the earlier ones are in use or not. Raises
    RuntimeError if all are.
    """
    with CAPTURING:
        for _ in range(_STREAMS):
            stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            if stream not in _streams:
                _streams.add(stream)
                return stream
    raise RuntimeError(f"All {_STREAMS} streams of {device} are in use: too many models are loaded at once.")


@contextmanager
def on_own_stream(device: torch.device) -> Iterator[None]:
    """Run this thread's GPU work on its own stream, concurrently with other threads. No-op on a CPU."""
    if not is_gpu(device):
        yield
        return
    synchronise(device)  # another stream may still be copying weights and tables
    with torch.cuda.device(device), torch.cuda.stream(new_stream(device)):
        yield


@contextmanager
def as_current(device: torch.device) -> Iterator[None]:
    """Make a GPU the current one of this thread, for what takes no device, such as CUDA graphs and events.

    No-op on a CPU.
    """
    if not is_gpu(device):
        yield
        return
    with torch.cuda.device(device):
        yield


def make_current(device: torch.device) -> None:
    """As :func:`as_current`, until the end of the thread."""
    if is_gpu(device) and device.index is not None:
        torch.cuda.set_device(device)


def shorten_thread_switches(device: torch.device) -> None:
    """Shorten the interpreter's switch interval for the threads that feed a GPU. No-op on a CPU.

    Every call of torch releases the GIL; if another thread is computing, Python returns it only after 5 ms,
    which is longer than most batches need for a hundred kernels.
    """
    if is_gpu(device):
        sys.setswitchinterval(_SWITCH_SECONDS)


def limit_memory(device: torch.device, limit: int = DEFAULT_GPU_MEMORY) -> int:
    """Limit this process's GPU memory to ``limit`` bytes; returns the bytes that it can still allocate.

    Allocations above the limit raise torch.OutOfMemoryError, as on a GPU of that size. The limit is at most
    the memory not used by other processes. Does nothing on a CPU, and returns ``limit``.
    """
    if not is_gpu(device):
        return limit
    release_memory(device)  # memory of an unloaded model must not reduce the next one's batch size
    free, total = torch.cuda.mem_get_info(device)
    allowed = min(limit, free + torch.cuda.memory_reserved(device))
    with torch.cuda.device(device):
        torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total))
    return allowed - torch.cuda.memory_allocated(device)


def peak_memory(device: torch.device) -> int:
    """Peak GPU memory reserved by this process, in bytes; 0 on a CPU."""
    return int(torch.cuda.max_memory_reserved(device)) if is_gpu(device) else 0


def memory_suffices(work: Callable[[], None]) -> bool:
    """Run a piece of work; False if the GPU's memory does not suffice for it.

    By then the exception is gone, which references the tensors of the failed work.
    """
    try:
        work()
    except torch.OutOfMemoryError:
        return False
    return True


def release_memory(device: torch.device) -> None:
    """Collect reference cycles and return the GPU allocator's cached memory to the device."""
    gc.collect()
    if is_gpu(device):
        with CAPTURING:
            torch.cuda.empty_cache()
