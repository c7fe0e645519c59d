"""Reader of CTranslate2's ``model.bin``; its tensors become openai-whisper's state dict.

The file format (version 6) is that of ``ModelSpec.save`` in CTranslate2's ``specs/model_spec.py``: little
endian; a string is a 16-bit length, which includes a final NUL, and its bytes. The tensors map one to one
to openai-whisper's; only the stacked projections are split.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 6
_DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}

Tensor = NDArray[Any]
Tensors = dict[str, Tensor]


class ModelFormatError(ValueError):
    """The bytes are not a CTranslate2 Whisper model of a known version and number type."""


class _Reader:
    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._position = 0

    def integer(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self._data, self._position)
        self._position += struct.calcsize("<" + code)
        return int(value)

    def take(self, count: int) -> bytes | memoryview:
        taken = self._data[self._position : self._position + count]
        if len(taken) != count:
            raise ModelFormatError("the model file ends too early")
        self._position += count
        return taken

    @property
    def remaining(self) -> bool:
        return self._position < len(self._data)

    def string(self) -> str:
        return bytes(self.take(self.integer("H"))[:-1]).decode()


def map_tensors(path: Path) -> Tensors:
    """All variables of a ``model.bin`` as views of the mapped file. Raises OSError and ModelFormatError."""
    with path.open("rb") as file:
        # A private mapping: torch warns about arrays that cannot be written to.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return read_tensors(memoryview(mapped))


def read_tensors(data: bytes | memoryview) -> Tensors:
    """All variables of a ``model.bin``, by CTranslate2's names. Raises ModelFormatError."""
    reader = _Reader(data)
    try:
        version, name = reader.integer("I"), reader.string()
        if version != FORMAT_VERSION or name != "WhisperSpec":
            raise ModelFormatError(f"{name} of format version {version} is not a Whisper model we can read")
        reader.integer("I")  # the spec's own revision
        tensors: Tensors = {}
        for _ in range(reader.integer("I")):
            variable = reader.string()
            shape = [reader.integer("I") for _ in range(reader.integer("B"))]
            dtype = np.dtype(_DTYPES[reader.integer("B")])
            array = np.frombuffer(reader.take(reader.integer("I")), dtype=dtype)
            tensors[variable] = array.reshape(shape)
        for _ in range(reader.integer("I") if reader.remaining else 0):
            alias = reader.string()  # equal tensors are saved once
            tensors[alias] = tensors[reader.string()]
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise ModelFormatError("the model file is damaged") from error
    return tensors


def _linear(tensors: Tensors, source: str, target: str) -> Tensors:
    return {f"{target}.weight": tensors[f"{source}/weight"], f"{target}.bias": tensors[f"{source}/bias"]}


def _norm(tensors: Tensors, source: str, target: str) -> Tensors:
    return {f"{target}.weight": tensors[f"{source}/gamma"], f"{target}.bias": tensors[f"{source}/beta"]}


def _stacked(tensors: Tensors, source: str, target: str, parts: tuple[str, ...]) -> Tensors:
    """Split a stacked projection. Whisper's key has no bias; CTranslate2 stores zeros for it."""
    weights = np.split(tensors[f"{source}/weight"], len(parts))
    biases = np.split(tensors[f"{source}/bias"], len(parts))
    state: Tensors = {}
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        state[f"{target}.{part}.weight"] = weight
        if part != "key":
            state[f"{target}.{part}.bias"] = bias
        elif np.any(bias):
            raise ModelFormatError(f"{source} has a bias on its key; Whisper's keys have none")
    return state


def _block(tensors: Tensors, source: str, target: str) -> Tensors:
    attention = f"{source}/self_attention"
    state = {
        **_norm(tensors, f"{attention}/layer_norm", f"{target}.attn_ln"),
        **_stacked(tensors, f"{attention}/linear_0", f"{target}.attn", ("query", "key", "value")),
        **_linear(tensors, f"{attention}/linear_1", f"{target}.attn.out"),
        **_norm(tensors, f"{source}/ffn/layer_norm", f"{target}.mlp_ln"),
        **_linear(tensors, f"{source}/ffn/linear_0", f"{target}.mlp.0"),
        **_linear(tensors, f"{source}/ffn/linear_1", f"{target}.mlp.2"),
    }
    cross = f"{source}/attention"
    if f"{cross}/linear_0/weight" in tensors:
        state |= {
            **_norm(tensors, f"{cross}/layer_norm", f"{target}.cross_attn_ln"),
            **_linear(tensors, f"{cross}/linear_0", f"{target}.cross_attn.query"),
            **_stacked(tensors, f"{cross}/linear_1", f"{target}.cross_attn", ("key", "value")),
            **_linear(tensors, f"{cross}/linear_2", f"{target}.cross_attn.out"),
        }
    return state


def _layers(tensors: Tensors, side: str) -> int:
    return sum(f"{side}/layer_{index}/ffn/linear_0/weight" in tensors for index in range(len(tensors)))


def dimensions(tensors: Tensors) -> dict[str, int]:
    """openai-whisper's ``dims``, from the shapes of CTranslate2's variables. Raises ModelFormatError."""
    try:
        if any(tensor.dtype.kind != "f" for name, tensor in tensors.items() if name.endswith("/weight")):
            raise ModelFormatError(
                "its weights are quantised to integers; convert the model with `--quantization float16`"
            )
        audio_context, audio_state = tensors["encoder/position_encodings/encodings"].shape
        text_context, text_state = tensors["decoder/position_encodings/encodings"].shape
        return {
            "n_mels": tensors["encoder/conv1/weight"].shape[1],
            "n_audio_ctx": audio_context,
            "n_audio_state": audio_state,
            "n_audio_head": int(tensors["encoder/num_heads"]),
            "n_audio_layer": _layers(tensors, "encoder"),
            "n_vocab": tensors["decoder/embeddings/weight"].shape[0],
            "n_text_ctx": text_context,
            "n_text_state": text_state,
            "n_text_head": int(tensors["decoder/num_heads"]),
            "n_text_layer": _layers(tensors, "decoder"),
        }
    except KeyError as error:
        raise ModelFormatError(f"the model file has no {error}") from error


def to_whisper(tensors: Tensors) -> tuple[dict[str, int], Tensors]:
    """The ``dims`` and ``model_state_dict`` of openai-whisper, from CTranslate2's variables."""
    dims = dimensions(tensors)
    state: Tensors = {
        **_linear(tensors, "encoder/conv1", "encoder.conv1"),
        **_linear(tensors, "encoder/conv2", "encoder.conv2"),
        "encoder.positional_embedding": tensors["encoder/position_encodings/encodings"],
        **_norm(tensors, "encoder/layer_norm", "encoder.ln_post"),
        "decoder.token_embedding.weight": tensors["decoder/embeddings/weight"],
        "decoder.positional_embedding": tensors["decoder/position_encodings/encodings"],
        **_norm(tensors, "decoder/layer_norm", "decoder.ln"),
    }
    for side, count in (("encoder", dims["n_audio_layer"]), ("decoder", dims["n_text_layer"])):
        for index in range(count):
            state |= _block(tensors, f"{side}/layer_{index}", f"{side}.blocks.{index}")
    return dims, state


def digest(state: Tensors) -> str:
    """SHA-256 over the names, shapes and bytes of all tensors, independent of the file format."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = np.ascontiguousarray(state[name])
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
