"""openai-whisper checkpoints as ggml files, the format of whisper.cpp.

The layout is that of whisper.cpp's ``models/convert-pt-to-ggml.py``: header, mel filters, vocabulary,
tensors.
"""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import whisper
from torch import Tensor

from batches.recognition.models.store import WhisperCheckpoint

_MAGIC = 0x67676D6C
_FLOAT32, _FLOAT16 = 0, 1
_HEADER = (
    "n_vocab", "n_audio_ctx", "n_audio_state", "n_audio_head", "n_audio_layer",
    "n_text_ctx", "n_text_state", "n_text_head", "n_text_layer", "n_mels",
)  # fmt: skip
_CONVOLUTION_BIASES = {"encoder.conv1.bias", "encoder.conv2.bias"}
_ALWAYS_FLOAT32 = _CONVOLUTION_BIASES | {"encoder.positional_embedding", "decoder.positional_embedding"}


def ggml_file(checkpoint: WhisperCheckpoint, folder: Path) -> Path:
    """Convert the checkpoint to a float16 ggml file in ``folder``, unless it exists. Raises OSError."""
    path = folder / f"{checkpoint.path.stem}.ggml.bin"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        saved = torch.load(checkpoint.path, map_location="cpu", weights_only=True, mmap=True)
        arriving = path.with_suffix(".new")
        with arriving.open("wb") as file:
            _write(file, saved["dims"], saved["model_state_dict"])
        arriving.rename(path)
    return path


def _write(file: IO[bytes], dims: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    file.write(struct.pack("<12i", _MAGIC, *(int(dims[name]) for name in _HEADER), _FLOAT16))
    assets = Path(whisper.__file__).parent / "assets"
    with np.load(assets / "mel_filters.npz", allow_pickle=False) as filters:
        mels = filters[f"mel_{dims['n_mels']}"].astype("<f4")
    file.write(struct.pack("<2i", *mels.shape) + mels.tobytes())
    multilingual = int(dims["n_vocab"]) >= 51_865
    lines = (assets / f"{'multilingual' if multilingual else 'gpt2'}.tiktoken").read_text().splitlines()
    ranks = {int(rank): base64.b64decode(token) for token, rank in (line.split() for line in lines if line)}
    file.write(struct.pack("<i", len(ranks)))
    for rank in sorted(ranks):
        file.write(struct.pack("<i", len(ranks[rank])) + ranks[rank])
    for name, tensor in tensors.items():
        _write_tensor(file, name, tensor)


def _write_tensor(file: IO[bytes], name: str, tensor: Tensor) -> None:
    values = tensor.squeeze()
    if name in _CONVOLUTION_BIASES:
        values = values[:, None]
    half = values.ndim >= 2 and name not in _ALWAYS_FLOAT32
    encoded = name.encode()
    file.write(struct.pack("<3i", values.ndim, len(encoded), _FLOAT16 if half else _FLOAT32))
    file.write(struct.pack(f"<{values.ndim}i", *reversed(values.shape)) + encoded)
    file.write(values.to(torch.float16 if half else torch.float32).contiguous().numpy().tobytes())
