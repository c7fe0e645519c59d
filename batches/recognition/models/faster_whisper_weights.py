"""Converter of a Whisper checkpoint into the folder that faster-whisper loads.

The layout is that of CTranslate2's own converter (``ctranslate2.converters.transformers.WhisperLoader``);
the tokenizer is openai-whisper's, written in the format of the ``tokenizers`` package. Needs the extra
``[faster]``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ctranslate2.specs import WhisperSpec
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor
from whisper.tokenizer import Tokenizer as WhisperTokenizer
from whisper.tokenizer import get_tokenizer

from batches.recognition.errors import ModelUnavailable
from batches.recognition.models.dimensions import MULTILINGUAL
from batches.recognition.models.store import WhisperCheckpoint
from batches.recognition.models.weights import open_weights

_VERSION = "2"  # of this conversion; folders of other versions are not used


def faster_folder(checkpoint: WhisperCheckpoint, cache: Path) -> Path:
    """Folder for ``faster_whisper.WhisperModel``, created in ``cache`` at the first call.

    Its name contains the digest of the checkpoint, so that other weights of the same name get another folder.
    Raises ModelUnavailable.
    """
    try:
        contents = _digest(checkpoint.path)
        folder = cache / f"{checkpoint.path.stem}-{contents[:16]}-{_VERSION}"
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as temporary:
                arriving = Path(temporary) / "model"
                arriving.mkdir()
                _convert(checkpoint, arriving)
                if not folder.is_dir():  # another process may have been faster
                    shutil.move(arriving, folder)
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"The Whisper model '{checkpoint.name}' cannot be read: {error}") from error
    return folder


def _digest(path: Path) -> str:
    """SHA-256 over the checkpoint's files."""
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if each.is_file())
    total = hashlib.sha256()
    for each in files:
        with each.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _convert(checkpoint: WhisperCheckpoint, folder: Path) -> None:
    weights = open_weights(checkpoint)
    dims = weights.dims
    multilingual = dims.n_vocab >= MULTILINGUAL
    tokenizer = get_tokenizer(
        multilingual,
        num_languages=dims.n_vocab - 51765 - int(multilingual),
        language="en",
        task="transcribe",
    )
    tokens = _token_names(tokenizer, dims.n_vocab)
    spec: Any = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    encoder, decoder = weights.modules()
    _fill(spec, encoder, decoder)
    spec.register_vocabulary(tokens)
    spec.config.suppress_ids = list(tokenizer.non_speech_tokens)
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.lang_ids = list(tokenizer.all_language_tokens)
    spec.config.alignment_heads = [list(pair) for pair in weights.alignment_heads]
    spec.validate()
    spec.optimize()
    spec.save(str(folder))
    _write_tokenizer(tokenizer, tokens, folder / "tokenizer.json")
    mels = {"feature_size": dims.n_mels, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps({**mels, "chunk_length": 30}))


def _fill(spec: Any, encoder: Any, decoder: Any) -> None:
    for side, source in (("encoder", encoder), ("decoder", decoder)):
        target = getattr(spec, side)
        target.position_encodings.encodings = _array(source.positional_embedding)
        _copy_norm(target.layer_norm, source.ln_post if side == "encoder" else source.ln)
        for layer, block in zip(target.layer, source.blocks, strict=True):
            _fill_block(layer, block)
    for name in ("conv1", "conv2"):
        _copy(getattr(spec.encoder, name), [getattr(encoder, name)])
    spec.decoder.embeddings.weight = _array(decoder.token_embedding.weight)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight


def _fill_block(layer: Any, block: Any) -> None:
    own, attention = layer.self_attention, block.attn
    _copy_norm(own.layer_norm, block.attn_ln)
    _copy(own.linear[0], [attention.query, attention.key, attention.value])
    _copy(own.linear[1], [attention.out])
    if block.cross_attn is not None:
        cross, attention = layer.attention, block.cross_attn
        _copy_norm(cross.layer_norm, block.cross_attn_ln)
        _copy(cross.linear[0], [attention.query])
        _copy(cross.linear[1], [attention.key, attention.value])
        _copy(cross.linear[2], [attention.out])
    _copy_norm(layer.ffn.layer_norm, block.mlp_ln)
    _copy(layer.ffn.linear_0, [block.mlp[0]])
    _copy(layer.ffn.linear_1, [block.mlp[2]])


def _array(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return tensor.detach().float().contiguous().numpy()


def _copy(target: Any, sources: Iterable[Any]) -> None:
    """One layer out of several, stacked. Whisper's keys have no bias: zeros."""
    layers = list(sources)
    target.weight = _array(torch.cat([layer.weight for layer in layers]))
    target.bias = _array(
        torch.cat(
            [
                layer.bias if layer.bias is not None else layer.weight.new_zeros(len(layer.weight))
                for layer in layers
            ]
        )
    )


def _copy_norm(target: Any, source: Any) -> None:
    target.gamma, target.beta = _array(source.weight), _array(source.bias)


def _byte_letters() -> dict[int, str]:
    """GPT-2's mapping of bytes to printable characters."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + index) for index, byte in enumerate(others)}


def _token_names(tokenizer: WhisperTokenizer, size: int) -> list[str]:
    """All tokens in order, text in GPT-2's letters."""
    letters = _byte_letters()
    names = [""] * size
    for token in range(tokenizer.eot):
        names[token] = "".join(letters[byte] for byte in tokenizer.encoding.decode_single_token_bytes(token))
    for name, token in tokenizer.special_tokens.items():
        names[token] = name
    return [name or f"<|unused{token}|>" for token, name in enumerate(names)]


def _write_tokenizer(tokenizer: WhisperTokenizer, names: list[str], path: Path) -> None:
    ranks = {tokenizer.encoding.decode_single_token_bytes(token): token for token in range(tokenizer.eot)}
    merges = []
    for text, rank in ranks.items():
        if len(text) > 1:
            left, right = _halves(text, rank, ranks)
            merges.append((names[ranks[left]], names[ranks[right]]))
    vocabulary = {name: token for token, name in enumerate(names) if token < tokenizer.eot}
    written = Tokenizer(BPE(vocab=vocabulary, merges=merges))
    written.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    written.decoder = decoders.ByteLevel()
    written.add_special_tokens([AddedToken(name, special=True) for name in names[tokenizer.eot :]])
    written.save(str(path))


def _halves(text: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that were merged into ``text``, by byte pair encoding without the last merge."""
    parts = [text[index : index + 1] for index in range(len(text))]
    while len(parts) > 2:
        best = min(range(len(parts) - 1), key=lambda index: ranks.get(parts[index] + parts[index + 1], rank))
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]
