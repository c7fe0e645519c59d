"""Benchmark variants: registry by name. A variant loads models, then recognises recordings."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from batches.recognition.bench.recordings import Recording
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY
from batches.recognition.runtime import cublas, device
from batches.recognition.transcript import SpeakerTurn

CPU, GPU = "cpu", device.GPU


@dataclass(slots=True)
class Found:
    """Result of one recording. Empty where a variant does not recognise text, or speakers."""

    text: str = ""
    turns: list[SpeakerTurn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings that all variants share."""

    models_dir: Path
    whisper_model: str  # name, or path of a checkpoint
    speaker_model: str
    threads: int
    cache: Path  # for weights converted to other formats
    avx2: bool = False  # do without AVX-512
    device: str = CPU
    files_at_once: int = 1  # by variants that take several
    batch_size: int = 0  # of the peers on a GPU; 0: their default
    memory_limit: int = 0  # bytes above which our own process is ended, as an engine process is; 0: none
    gpu_memory: int = DEFAULT_GPU_MEMORY  # bytes of a card that our own process takes
    trusted_pipelines: tuple[str, ...] = ()


class Variant(Protocol):
    """Interface of a variant. ``several``: whether ``run`` may be called from several threads at once."""

    several: bool

    def load(self) -> None: ...
    def run(self, recording: Recording) -> Found: ...


OURS, OURS_FASTER = "ours", "ours on faster-whisper"
SPEAKERS, PYANNOTE = "ours with speakers", "pyannote pipeline"
COMMAND, TRANSFORMERS, CPP = "whisper command line", "transformers batched", "whisper.cpp"
FASTER_INT8, FASTER_FLOAT16 = "faster-whisper batched int8", "faster-whisper batched float16"
FASTER_BEAM = "faster-whisper batched int8, beam 5"
_FASTER = {  # type of the weights, whether batched, beam width
    "faster-whisper float32": ("float32", False, 1),
    "faster-whisper int8": ("int8", False, 1),
    "faster-whisper batched float32": ("float32", True, 1),
    FASTER_INT8: ("int8", True, 1),
    FASTER_BEAM: ("int8", True, 5),
    FASTER_FLOAT16: ("float16", True, 1),
}
ON_CPU = (
    OURS,
    OURS_FASTER,
    *(name for name in _FASTER if name != FASTER_FLOAT16),
    CPP,
    TRANSFORMERS,
    COMMAND,
)
ON_GPU = (OURS, FASTER_FLOAT16, TRANSFORMERS)
TURNS = (SPEAKERS, PYANNOTE)
ALL = tuple(dict.fromkeys((*ON_CPU, *ON_GPU, *TURNS)))
REFERENCES = {CPU: FASTER_INT8, GPU: TRANSFORMERS}  # the variant to which ratios are taken

_PACKAGES = {
    **dict.fromkeys((*_FASTER, OURS_FASTER), ("faster_whisper", "faster")),
    CPP: ("pywhispercpp", "bench"),
    TRANSFORMERS: ("transformers", "bench"),
}


def names(device: str, *, speakers: bool) -> tuple[str, ...]:
    """All variants that run on a device."""
    return (*(ON_GPU if device == GPU else ON_CPU), *(TURNS if speakers else ()))


def missing(name: str, device: str = CPU) -> str:
    """The reason that a variant cannot run here, with the remedy; empty if it can."""
    package, extra = _PACKAGES.get(name, ("", ""))
    if package and importlib.util.find_spec(package) is None:
        return f'pip install "speechportal[{extra}]"'
    if device == GPU:
        return _missing_on_gpu(name)
    return ""


def _missing_on_gpu(name: str) -> str:
    import torch

    if not torch.cuda.is_available():
        return "torch finds no NVIDIA GPU here"
    if name in (*_FASTER, OURS_FASTER):
        import ctranslate2

        if not ctranslate2.get_cuda_device_count():
            return "CTranslate2 finds no GPU"
        return cublas.missing()
    return ""


def make(name: str, setup: Setup) -> Variant:
    """Create a variant. Raises KeyError for a name that is not in :data:`ALL`."""
    from batches.recognition.bench import ours, peers

    if name in _FASTER:
        compute_type, batched, beam_width = _FASTER[name]
        return peers.FasterWhisper(setup, compute_type=compute_type, batched=batched, beam_width=beam_width)
    makers: dict[str, Callable[[], Variant]] = {
        OURS: lambda: ours.Ours(setup),
        OURS_FASTER: lambda: ours.Ours(setup, recogniser="faster-whisper"),
        SPEAKERS: lambda: ours.Ours(setup, speakers=True),
        COMMAND: lambda: peers.WhisperCommand(setup),
        CPP: lambda: peers.WhisperCpp(setup),
        TRANSFORMERS: lambda: peers.Transformers(setup),
        PYANNOTE: lambda: peers.Pyannote(setup),
    }
    return makers[name]()
