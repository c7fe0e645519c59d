"""Dimensions of a Whisper checkpoint, read without loading its weights and without importing torch.

Three layouts are known: openai-whisper's ``.pt`` file, a Hugging Face folder (``config.json`` with
``model.safetensors``) and a CTranslate2 folder (``model.bin``).
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import ctranslate2

Layout = Literal["openai", "huggingface", "ctranslate2"]

ENGLISH, MULTILINGUAL, MULTILINGUAL_V3 = 51864, 51865, 51866  # tokens in Whisper's vocabularies
SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
CTRANSLATE2_FILE = "model.bin"


@dataclass(frozen=True, slots=True)
class WhisperDimensions:
    """The fields of ``whisper.model.ModelDimensions``."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int

    @property
    def parameters(self) -> int:
        """Number of weights, the output layer counted once: it is the token embedding."""
        audio, text = self.n_audio_state, self.n_text_state
        encoder = 3 * self.n_mels * audio + 3 * audio * audio + 4 * audio + self.n_audio_ctx * audio
        encoder += self.n_audio_layer * (12 * audio * audio + 12 * audio)
        decoder = self.n_vocab * text + self.n_text_ctx * text + 2 * text
        return encoder + decoder + self.n_text_layer * (16 * text * text + 17 * text)


def layout_of(path: Path) -> Layout | None:
    """Layout of the checkpoint at ``path``, a file or a folder; None where there is none."""
    if path.is_file():
        return "openai" if path.suffix == ".pt" else None
    if (path / "config.json").is_file():
        if (path / SAFETENSORS).is_file() or (path / SAFETENSORS_INDEX).is_file():
            return "huggingface"
        if (path / CTRANSLATE2_FILE).is_file():
            return "ctranslate2"
    return None


def read_dimensions(path: Path) -> WhisperDimensions:
    """Dimensions of the checkpoint at ``path``. Raises ModelUnavailable."""
    readers = {"openai": _of_openai, "huggingface": _of_huggingface, "ctranslate2": _of_ctranslate2}
    layout = layout_of(path)
    if layout is None:
        raise ModelUnavailable(f"There is no Whisper checkpoint at {path}.", name=str(path))
    try:
        dims = WhisperDimensions(**readers[layout](path))
    except (OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ModelUnavailable(
            f"The Whisper checkpoint {path} cannot be read: {error}", name=str(path)
        ) from error
    if dims.n_vocab not in {ENGLISH, MULTILINGUAL, MULTILINGUAL_V3}:
        raise ModelUnavailable(
            f"The checkpoint {path} has a vocabulary of {dims.n_vocab} tokens. Whisper's have {ENGLISH} "
            f"(English), {MULTILINGUAL} or {MULTILINGUAL_V3}; another tokenizer cannot be used.",
            name=str(path),
        )
    return dims


class _Ignored:
    """Stands in for every class and function of a pickle but dictionaries, and for what these return."""

    def __init__(self, *_arguments: object) -> None:
        pass

    def __call__(self, *_arguments: object) -> _Ignored:
        return self

    def __setstate__(self, _state: object) -> None:
        pass


class _DimensionsUnpickler(pickle.Unpickler):
    """Builds dictionaries and numbers only, so that nothing in the file is executed."""

    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Ignored

    def persistent_load(self, _identifier: object) -> None:
        return None


def _of_openai(path: Path) -> dict[str, int]:
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if name is None:
            raise ValueError("it was not written by torch.save")
        with archive.open(name) as file:
            document = _DimensionsUnpickler(file).load()
    names = [field.name for field in fields(WhisperDimensions)]
    return {name: int(document["dims"][name]) for name in names}


def _of_huggingface(folder: Path) -> dict[str, int]:
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "whisper":
        raise ValueError(f"config.json describes a {config.get('model_type') or 'model'}, not Whisper")
    return {
        "n_mels": config["num_mel_bins"],
        "n_audio_ctx": config["max_source_positions"],
        "n_audio_state": config["d_model"],
        "n_audio_head": config["encoder_attention_heads"],
        "n_audio_layer": config["encoder_layers"],
        "n_vocab": config["vocab_size"],
        "n_text_ctx": config["max_target_positions"],
        "n_text_state": config["d_model"],
        "n_text_head": config["decoder_attention_heads"],
        "n_text_layer": config["decoder_layers"],
    }


def _of_ctranslate2(folder: Path) -> dict[str, int]:
    tensors = ctranslate2.map_tensors(folder / CTRANSLATE2_FILE)
    return ctranslate2.dimensions(tensors)
