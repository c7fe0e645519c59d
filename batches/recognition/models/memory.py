"""CPU memory need of a Whisper model, computed from its dimensions, number type and batch size.

The need is compared with the free memory before a model is loaded, and determines the memory limit of the
engine process. Does not import torch, so that pages and commands can show it.
"""

from __future__ import annotations

import contextlib
import resource
from dataclasses import dataclass
from pathlib import Path

from batches.recognition.errors import ModelTooLarge
from batches.recognition.models.dimensions import WhisperDimensions

MIB, GIB = 1024**2, 1024**3
_PROCESS = 300 * MIB  # interpreter and libraries
_SPEAKER_MODELS = 600 * MIB  # segmentation and speaker embeddings with their batches
_TEXT_POSITIONS = 256  # tokens of a chunk, prompt included
_LONGEST_CHUNK = 1500  # encoder frames: 30 s
CPU_ROWS = 8
_TOLERANCE, _RESERVE = 1.3, GIB  # between what is needed and the limit


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that one process needs: of main memory, or of a GPU (:mod:`..models.gpu_memory`)."""

    weights: int
    cache: int  # keys and values of the decoder
    activations: int
    process: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.activations + self.process

    @property
    def limit(self) -> int:
        """Memory limit in bytes, above which the process is ended: a fault, or a malicious input."""
        return round(self.total * _TOLERANCE) + _RESERVE


def need_on_cpu(dims: WhisperDimensions, *, number_bytes: int, rows: int = CPU_ROWS) -> MemoryNeed:
    """Memory need on a CPU. ``number_bytes`` per weight: 2 for bfloat16, 4 for float32; ``rows`` per batch.

    The token embedding is kept in float32, and once more as the output layer in int8.
    """
    embedding = dims.n_vocab * dims.n_text_state
    weights = (dims.parameters - embedding) * number_bytes + embedding * (4 + 1)
    # Residual and its norm in float32; query, key, value and both layers of the feed-forward.
    per_frame = dims.n_audio_state * (2 * 4 + (3 + 2 * 4) * number_bytes)
    attention = dims.n_audio_head * _LONGEST_CHUNK**2 * (4 + number_bytes)  # a row at a time
    return MemoryNeed(
        weights,
        _cache(dims, rows, _LONGEST_CHUNK, number_bytes),
        rows * _LONGEST_CHUNK * per_frame + attention + 3 * 4 * rows * dims.n_vocab,
        _PROCESS + _SPEAKER_MODELS,
    )


def _cache(dims: WhisperDimensions, rows: int, frames: int, number_bytes: int) -> int:
    positions = frames + _TEXT_POSITIONS
    return 2 * dims.n_text_layer * rows * positions * dims.n_text_state * number_bytes


def available() -> int:
    """Main memory available to this process in bytes, within the limits of container and ``ulimit -v``."""
    free = _kilobytes("/proc/meminfo", "MemAvailable")
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        reserved, used = (_kilobytes("/proc/self/status", name) for name in ("VmSize", "VmRSS"))
        free = min(free, space - (reserved - used))
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            used = int((group / "memory.current").read_text()) - int(statistics.get("inactive_file", 0))
            free = min(free, int(limit) - used)
    except (OSError, ValueError):
        pass  # no control group of version 2
    return max(free, 0)


def most() -> int:
    """Main memory in bytes that a process may have, of the machine, the container and ``ulimit -v``."""
    found = [_kilobytes("/proc/meminfo", "MemTotal")]
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        found.append(space)
    with contextlib.suppress(OSError, ValueError):  # no control group of version 2, or "max"
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def _kilobytes(file: str, name: str) -> int:
    """Field of a file of the kernel, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(file).read_text().splitlines() if ":" in line)
    return int(fields[name].split()[0]) * 1024


def require(name: str, need: MemoryNeed, free: int, *, of: str = "memory") -> None:
    """Raise ModelTooLarge if ``need`` exceeds ``free`` bytes. ``of`` names the kind of memory."""
    if need.total > free:
        raise ModelTooLarge(
            f"{name} needs {need.total / 1e9:.1f} GB of {of} here, {free / 1e9:.1f} GB are free.",
            name=name,
            need_bytes=need.total,
            free_bytes=free,
        )
