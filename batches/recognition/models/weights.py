"""Whisper checkpoints as memory-mapped tensors, in openai-whisper's names.

:func:`open_weights` reads any of the layouts of :mod:`batches.recognition.models.dimensions`. Tensors are not
copied: each is mapped from its file, in its saved type, until the model converts it to the type it runs in.
:meth:`WhisperWeights.release` then releases the file's pages, so that loading never needs the checkpoint and
the model in memory at once.
"""

from __future__ import annotations

import base64
import ctypes
import gzip
import json
import math
import mmap
import pickle
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from whisper import _ALIGNMENT_HEADS  # there is no public name for them
from whisper.model import AudioEncoder, ModelDimensions, TextDecoder

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models import ctranslate2
from batches.recognition.models.dimensions import (
    CTRANSLATE2_FILE,
    SAFETENSORS,
    SAFETENSORS_INDEX,
    layout_of,
    read_dimensions,
)
from batches.recognition.models.store import WhisperCheckpoint

StateDict = dict[str, Tensor]
AlignmentHeads = tuple[tuple[int, int], ...]  # (decoder layer, head) pairs whose attention follows the audio

_LIBC = ctypes.CDLL(None, use_errno=True)
_SAFETENSORS_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class WhisperWeights:
    """One opened checkpoint: dimensions, tensors by openai-whisper's names, and alignment heads."""

    name: str
    dims: ModelDimensions
    state: StateDict
    alignment_heads: AlignmentHeads
    mapped: bool = True  # whether the tensors are views of a file

    def release(self) -> None:
        """Release the file's pages to the system; they are read again if a tensor is used again."""
        if not self.mapped:
            return
        for tensor in self.state.values():
            storage = tensor.untyped_storage()
            start = -(-storage.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
            length = storage.data_ptr() + storage.nbytes() - start
            if length > 0:
                _LIBC.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_DONTNEED)

    def modules(self) -> tuple[AudioEncoder, TextDecoder]:
        """openai-whisper's encoder and decoder around the mapped tensors. Raises ModelUnavailable."""
        dims = self.dims
        with WithoutInitialisation():
            encoder = AudioEncoder(
                dims.n_mels, dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_head, dims.n_audio_layer
            )
            decoder = TextDecoder(
                dims.n_vocab, dims.n_text_ctx, dims.n_text_state, dims.n_text_head, dims.n_text_layer
            )
        try:
            encoder.load_state_dict(_part(self.state, "encoder."), assign=True)
            decoder.load_state_dict(_part(self.state, "decoder."), assign=True)
        except RuntimeError as error:
            raise _unreadable(self.name, error) from error
        return encoder.eval(), decoder.eval()


class WithoutInitialisation(TorchFunctionMode):
    """Mode that creates modules without initialising their weights, which are replaced at once.

    Unwritten memory is not allocated. (With the device "meta", torch would import its compiler first.)
    """

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def open_weights(checkpoint: WhisperCheckpoint) -> WhisperWeights:
    """Open a checkpoint of any known layout. Raises ModelUnavailable."""
    path = checkpoint.path
    dims = ModelDimensions(**asdict(read_dimensions(path)))
    layout, mapped = layout_of(path), True
    try:
        if layout == "openai":
            state, mapped = _openai_state(path)
        elif layout == "huggingface":
            state = _huggingface_state(path)
        else:
            state = _ctranslate2_state(path)
        heads = _official_heads(checkpoint.official, dims) or _configured_heads(path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise _unreadable(checkpoint.name, error) from error
    return WhisperWeights(checkpoint.name, dims, state, heads or _default_heads(dims), mapped)


def _unreadable(name: str, error: Exception) -> ModelUnavailable:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return ModelUnavailable(f"The Whisper model '{name}' cannot be read: {reason}", name=name)


def _part(state: StateDict, prefix: str) -> StateDict:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _openai_state(path: Path) -> tuple[StateDict, bool]:
    """``model_state_dict`` of a ``.pt`` file, mapped if possible. Nothing but tensors is unpickled."""
    mapped = True
    try:
        document = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # compressed, or with tensors that are not aligned in the file
        document = torch.load(path, map_location="cpu", weights_only=True)
        mapped = False
    state: StateDict = document["model_state_dict"]
    return state, mapped


def _ctranslate2_state(folder: Path) -> StateDict:
    _dims, arrays = ctranslate2.to_whisper(ctranslate2.map_tensors(folder / CTRANSLATE2_FILE))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _huggingface_state(folder: Path) -> StateDict:
    files = [SAFETENSORS]
    if (folder / SAFETENSORS_INDEX).is_file():
        index = json.loads((folder / SAFETENSORS_INDEX).read_text())
        files = sorted(set(index["weight_map"].values()))
    state: StateDict = {}
    for file in files:
        if Path(file).name != file:
            raise ValueError(f"the index names a file outside of its folder: {file}")
        for name, tensor in map_safetensors(folder / file).items():
            if (ours := _openai_name(name)) is not None:
                state[ours] = tensor
    return state


def map_safetensors(path: Path) -> StateDict:
    """All tensors of a safetensors file as views of the mapped file. Raises OSError and ValueError.

    The format: an unsigned 64-bit length, a JSON header of that length, and the tensors' bytes.
    """
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # torch wants writable memory
    start = 8 + int.from_bytes(mapped[:8], "little")
    if start > len(mapped):
        raise ValueError("the safetensors file ends too early")
    header = json.loads(mapped[8:start])
    state: StateDict = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = _SAFETENSORS_TYPES.get(entry["dtype"])
        if dtype is None:
            raise ValueError(
                f"{name} is saved as {entry['dtype']}; known types: {', '.join(_SAFETENSORS_TYPES)}"
            )
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        count = math.prod(shape)
        if end - begin != count * dtype.itemsize or start + end > len(mapped):
            raise ValueError(f"the safetensors file is damaged at {name}")
        values = torch.frombuffer(mapped, dtype=dtype, count=count, offset=start + begin)
        state[name] = values.view(shape)
    return state


_RENAMED = (
    (r"^model\.", ""),
    (r"\.layers\.", ".blocks."),
    (r"\.self_attn_layer_norm\.", ".attn_ln."),
    (r"\.encoder_attn_layer_norm\.", ".cross_attn_ln."),
    (r"\.final_layer_norm\.", ".mlp_ln."),
    (r"\.self_attn\.", ".attn."),
    (r"\.encoder_attn\.", ".cross_attn."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"^encoder\.layer_norm\.", "encoder.ln_post."),
    (r"^decoder\.layer_norm\.", "decoder.ln."),
    (r"\.embed_positions\.weight$", ".positional_embedding"),
    (r"^decoder\.embed_tokens\.", "decoder.token_embedding."),
)


def _openai_name(name: str) -> str | None:
    """openai-whisper's name of a Hugging Face tensor; None for the output layer, which is the embedding."""
    if name == "proj_out.weight":
        return None
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _official_heads(official: str, dims: ModelDimensions) -> AlignmentHeads:
    """The alignment heads that openai-whisper publishes for its own models."""
    if official not in _ALIGNMENT_HEADS:
        return ()
    packed = gzip.decompress(base64.b85decode(_ALIGNMENT_HEADS[official]))
    chosen = np.frombuffer(packed, dtype=bool).reshape(dims.n_text_layer, dims.n_text_head)
    return tuple((int(layer), int(head)) for layer, head in zip(*np.nonzero(chosen), strict=True))


def _configured_heads(path: Path) -> AlignmentHeads:
    """Alignment heads of ``generation_config.json`` (Hugging Face) or ``config.json`` (CTranslate2)."""
    for name in ("generation_config.json", "config.json"):
        if path.is_dir() and (path / name).is_file():
            pairs = json.loads((path / name).read_text()).get("alignment_heads") or []
            if pairs:
                return tuple((int(layer), int(head)) for layer, head in pairs)
    return ()


def _default_heads(dims: ModelDimensions) -> AlignmentHeads:
    """All heads of the upper half of the decoder, as openai-whisper does for unknown models."""
    layers = range(dims.n_text_layer // 2, dims.n_text_layer)
    return tuple((layer, head) for layer in layers for head in range(dims.n_text_head))
