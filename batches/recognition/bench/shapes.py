"""Whisper models by shape: random weights of known dimensions, to measure speed without a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from whisper.model import ModelDimensions

_DEVIATION = 0.02  # of random weights: activations keep a usual size


def _dims(
    mels: int, state: int, heads: int, layers: int, vocabulary: int, text_layers: int
) -> ModelDimensions:
    return ModelDimensions(
        n_mels=mels, n_audio_ctx=1500, n_audio_state=state, n_audio_head=heads, n_audio_layer=layers,
        n_vocab=vocabulary, n_text_ctx=448, n_text_state=state, n_text_head=heads, n_text_layer=text_layers,
    )  # fmt: skip


SHAPES = {
    "tiny": _dims(80, 384, 6, 4, 51865, 4),
    "base": _dims(80, 512, 8, 6, 51865, 6),
    "small": _dims(80, 768, 12, 12, 51865, 12),
    "medium": _dims(80, 1024, 16, 24, 51865, 24),
    "large-v3": _dims(128, 1280, 20, 32, 51866, 32),
    "large-v3-turbo": _dims(128, 1280, 20, 32, 51866, 4),
}
ALIGNMENT_HEADS = 6  # as many as large-v3-turbo has; in the last layer


def alignment_heads(dims: ModelDimensions) -> list[tuple[int, int]]:
    """(layer, head) pairs, as many as real models have."""
    return [(dims.n_text_layer - 1, head) for head in range(ALIGNMENT_HEADS)]


class RandomStateDict(Mapping[str, Tensor]):
    """A state dict whose tensors are made when they are read, on the device and in the type that run."""

    def __init__(self, dims: ModelDimensions, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._shapes = dict(_shapes(dims))
        self._generator = torch.Generator(device).manual_seed(0)

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if "ln" in name.split(".")[-2]:
            values = torch.ones if name.endswith("weight") else torch.zeros
            return values(shape, device=self._device, dtype=self._dtype)
        tensor = torch.empty(shape, device=self._device, dtype=self._dtype)
        return tensor.normal_(0.0, _DEVIATION, generator=self._generator)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _shapes(dims: ModelDimensions) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of openai-whisper's state dict."""
    audio, text = dims.n_audio_state, dims.n_text_state
    yield "encoder.positional_embedding", (dims.n_audio_ctx, audio)
    for name, inputs in (("conv1", dims.n_mels), ("conv2", audio)):
        yield f"encoder.{name}.weight", (audio, inputs, 3)
        yield f"encoder.{name}.bias", (audio,)
    for layer in range(dims.n_audio_layer):
        yield from _block_shapes(f"encoder.blocks.{layer}", audio, cross=False)
    yield from _affine("encoder.ln_post", audio)
    yield "decoder.token_embedding.weight", (dims.n_vocab, text)
    yield "decoder.positional_embedding", (dims.n_text_ctx, text)
    for layer in range(dims.n_text_layer):
        yield from _block_shapes(f"decoder.blocks.{layer}", text, cross=True)
    yield from _affine("decoder.ln", text)


def _block_shapes(name: str, state: int, *, cross: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    for attention in ("attn", "cross_attn") if cross else ("attn",):
        for part in ("query", "key", "value", "out"):
            yield f"{name}.{attention}.{part}.weight", (state, state)
            if part != "key":
                yield f"{name}.{attention}.{part}.bias", (state,)
        yield from _affine(f"{name}.{attention}_ln", state)
    yield f"{name}.mlp.0.weight", (4 * state, state)
    yield f"{name}.mlp.0.bias", (4 * state,)
    yield f"{name}.mlp.2.weight", (state, 4 * state)
    yield f"{name}.mlp.2.bias", (state,)
    yield from _affine(f"{name}.mlp_ln", state)


def _affine(name: str, state: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (state,)
    yield f"{name}.bias", (state,)
