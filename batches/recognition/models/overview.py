"""`ModelFacts`: facts about a model for commands and pages: size, licence, memory need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from batches.recognition import registry
from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import gpu_memory, memory
from batches.recognition.models.catalogue import SPECS
from batches.recognition.models.dimensions import read_dimensions
from batches.recognition.models.store import ModelStore, checkpoint_in, is_path

# openai-whisper's own models; their weights are under the licence of its code.
_OFFICIAL = ("tiny", "base", "small", "medium", "large", "turbo")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts about a model on this machine. Sizes in bytes; 0 or an empty string if unknown."""

    name: str
    state: str  # "ready", "missing" or "damaged"
    size: int
    licence: str
    need_on_cpu: int = 0  # with weights in bfloat16 ...
    need_on_cpu_float32: int = 0  # ... and in float32
    need_on_gpu: int = 0  # of the card at least


def facts_of(name: str, store: ModelStore) -> ModelFacts:
    """Facts from the model's files; for a missing model only those of the catalogue."""
    path = Path(name) if is_path(name) else store.path_of(name)
    state = _state(name, path, store)
    size = _size(path)
    try:
        dims = read_dimensions(checkpoint_in(path))
    except ModelUnavailable:  # not here, or no Whisper model
        return ModelFacts(name, state, size, _licence(name, path))
    half, single = (memory.need_on_cpu(dims, number_bytes=count).total for count in (2, 4))
    gpu = gpu_memory.least_need(dims).total
    return ModelFacts(name, state, size, _licence(name, path), half, single, gpu)


def _state(name: str, path: Path, store: ModelStore) -> str:
    if is_path(name):
        return "ready" if path.exists() else "missing"
    if (provider := registry.bundled_with(name, store)) is not None:
        return "missing" if provider.missing() else "ready"
    return store.status(name).state


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(each.stat().st_size for each in files if each.is_file())


def _licence(name: str, path: Path) -> str:
    """Licence from the catalogue, or from the model card (README.md) of a Hugging Face model."""
    if spec := SPECS.get(name):
        return spec.licence
    card = path / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
            if line.startswith("license:"):
                return line.partition(":")[2].strip()
    return "MIT" if name.split(".")[0].split("-")[0] in _OFFICIAL else ""
