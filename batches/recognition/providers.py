"""What a module of a recogniser or diarizer registers: its name, its models, its loader.

Importing this module, or a module that registers itself, imports no torch: the portal's processes list
recognisers without loading any.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.gpu_memory import DEFAULT_GPU_MEMORY

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from batches.recognition.contracts import Diarizer, SpeechRecogniser
    from batches.recognition.models.store import ModelStore
    from batches.recognition.runtime.batching import BatchThread


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """Where and how models run."""

    store: ModelStore
    device: torch.device
    batches: BatchThread  # runs the batches of all models on the device
    threads: int = 1  # of the CPU
    batch_size: int = 0  # chunks decoded at once; 0: what suits the device
    precision: str = "auto"  # as in runtime.device.choose_precision
    gpu_memory: int = DEFAULT_GPU_MEMORY  # bytes that this process may take of a GPU, for all models together
    trusted_pipelines: frozenset[str] = frozenset()  # references whose files may run code of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A kind of model, and what it needs.

    ``claims`` says whether a model reference (name, path or folder) is of this kind; it reads files at most.
    """

    name: str
    claims: Callable[[str, ModelStore], bool]
    packages: tuple[str, ...] = ()  # importable names of packages that the portal does not require
    extra: str = ""  # the portal's extra that installs them
    bundled: bool = False  # whether the models come with the packages, instead of the models folder

    def missing(self) -> str:
        """The command that installs what this kind of model needs; empty if it is installed."""
        if all(importlib.util.find_spec(package) for package in self.packages):
            return ""
        return f'pip install "speechportal[{self.extra}]"'

    def require(self) -> None:
        """Raise ModelUnavailable if packages are missing."""
        if command := self.missing():
            raise ModelUnavailable(f"{self.name} is not installed. Run: {command}")

    def require_present(self, reference: str, store: ModelStore) -> None:
        """Raise ModelUnavailable if packages or the model's files are missing. Reads no weights."""
        self.require()
        if not self.bundled:
            store.require_present(reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserProvider(Provider):
    """Loads speech recognisers. ``load`` raises ModelUnavailable."""

    load: Callable[[str, LoadSettings], SpeechRecogniser]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizerProvider(Provider):
    """Loads diarizers. ``load`` raises ModelUnavailable.

    ``segmentation`` finds the segmentation checkpoint among a model's files, if it has one that also serves
    as voice activity detection.
    """

    load: Callable[[str, LoadSettings], Diarizer]
    segmentation: Callable[[str, ModelStore], Path | None] = lambda _reference, _store: None
