"""Whisper's weights in the layout for one device and one number type.

Projections that read the same input are stacked into one matrix, the attention scale is folded into the
query's weights, and the output layer covers only the tokens that may be written. Tensors are read one layer
at a time, so a memory-mapped state dict is never held in full beside the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from whisper.model import ModelDimensions

_OUTPUT_MULTIPLE = 64  # an output layer of odd width makes cuBLAS take a slow kernel
_EPSILON = 1e-5  # of every LayerNorm in Whisper

# Arguments of F.linear and F.layer_norm after the input.
Linear = tuple[Tensor, Tensor]  # (out, in), (out,)
Norm = tuple[tuple[int], Tensor, Tensor, float]


@dataclass(frozen=True, slots=True, eq=False)
class EncoderLayer:
    attention_norm: Norm
    qkv: Linear  # (3 * state, state)
    out: Linear
    mlp_norm: Norm
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True, eq=False)
class DecoderLayer:
    """Decoder layer. The queries of both attentions are already scaled: attend with ``scale=1``."""

    attention_norm: Norm
    qkv: Linear  # (3 * state, state)
    out: Linear
    cross_norm: Norm
    cross_query: Linear
    cross_kv: Linear  # (2 * state, state), applied to the encoder's output
    cross_out: Linear
    mlp_norm: Norm
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True, eq=False)
class DeviceWeights:
    """All tensors of one checkpoint, on one device and of one type.

    ``output`` is (padded vocabulary, state) over the text tokens and the end of text, which come first in
    Whisper's vocabulary, with zero rows up to a multiple of 64. ``output_bias`` is -inf for those rows.
    """

    dims: ModelDimensions
    convolutions: tuple[Linear, Linear]  # the second has stride 2
    encoder_positions: Tensor  # (1500, state)
    encoder_layers: list[EncoderLayer]
    encoder_norm: Norm
    embedding: Tensor  # (vocabulary, state)
    positions: Tensor  # (448, state)
    decoder_layers: list[DecoderLayer]
    decoder_norm: Norm
    output: Tensor
    output_bias: Tensor
    text_tokens: int  # text tokens and the end of text, the last of them
    alignment_heads: dict[int, list[int]]  # heads by layer, both in ascending order

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.dtype

    @property
    def heads(self) -> int:
        return int(self.dims.n_text_head)

    @property
    def head_size(self) -> int:
        return int(self.dims.n_text_state) // self.heads

    @property
    def alignment_head_count(self) -> int:
        return sum(map(len, self.alignment_heads.values()))


def load_weights(
    dims: ModelDimensions,
    state_dict: Mapping[str, Tensor],
    *,
    alignment_heads: Sequence[tuple[int, int]],
    end_of_text: int,
    device: torch.device,
    dtype: torch.dtype,
) -> DeviceWeights:
    """Weights from openai-whisper's state dict, whatever the type of its tensors.

    ``alignment_heads`` are (layer, head) of the decoder. ``end_of_text`` is that token's number, the last of
    the tokens that may be written.
    """
    reader = _Reader(state_dict, device, dtype)
    head_size = dims.n_text_state // dims.n_text_head
    heads: dict[int, list[int]] = {}
    for layer, head in sorted(alignment_heads):
        heads.setdefault(layer, []).append(head)
    embedding = reader.tensor("decoder.token_embedding.weight")
    text_tokens = end_of_text + 1
    padded = -(-text_tokens // _OUTPUT_MULTIPLE) * _OUTPUT_MULTIPLE
    output = torch.zeros(padded, dims.n_text_state, device=device, dtype=dtype)
    output[:text_tokens] = embedding[:text_tokens]
    bias = torch.zeros(padded, device=device, dtype=dtype)
    bias[text_tokens:] = -torch.inf
    return DeviceWeights(
        dims=dims,
        convolutions=(reader.linear("encoder.conv1"), reader.linear("encoder.conv2")),
        encoder_positions=reader.tensor("encoder.positional_embedding"),
        encoder_layers=[
            reader.encoder_layer(f"encoder.blocks.{layer}") for layer in range(dims.n_audio_layer)
        ],
        encoder_norm=reader.norm("encoder.ln_post"),
        embedding=embedding,
        positions=reader.tensor("decoder.positional_embedding"),
        decoder_layers=[
            reader.decoder_layer(f"decoder.blocks.{layer}", head_size**-0.5)
            for layer in range(dims.n_text_layer)
        ],
        decoder_norm=reader.norm("decoder.ln"),
        output=output,
        output_bias=bias,
        text_tokens=text_tokens,
        alignment_heads=heads,
    )


class _Reader:
    """Reader of layers in a state dict, by name."""

    def __init__(self, state_dict: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> None:
        self._state_dict, self._device, self._dtype = state_dict, device, dtype

    def tensor(self, name: str) -> Tensor:
        return self._state_dict[name].detach().to(self._device, self._dtype).contiguous()

    def norm(self, name: str) -> Norm:
        weight = self.tensor(f"{name}.weight")
        return (weight.shape[0],), weight, self.tensor(f"{name}.bias"), _EPSILON

    def linear(self, *names: str, scale: float = 1.0) -> Linear:
        """One linear layer out of several side by side; ``scale`` multiplies the first.

        Whisper's keys have no bias. For heads of 64 the scale is a power of two: exact in half precision.
        """
        weights = [self.tensor(f"{name}.weight") for name in names]
        biases = [
            self.tensor(bias)
            if (bias := f"{name}.bias") in self._state_dict
            else weight.new_zeros(len(weight))
            for name, weight in zip(names, weights, strict=True)
        ]
        weights[0], biases[0] = weights[0] * scale, biases[0] * scale
        return torch.cat(weights), torch.cat(biases)

    def encoder_layer(self, name: str) -> EncoderLayer:
        attention = f"{name}.attn"
        return EncoderLayer(
            self.norm(f"{name}.attn_ln"),
            self.linear(f"{attention}.query", f"{attention}.key", f"{attention}.value"),
            self.linear(f"{attention}.out"),
            self.norm(f"{name}.mlp_ln"),
            self.linear(f"{name}.mlp.0"),
            self.linear(f"{name}.mlp.2"),
        )

    def decoder_layer(self, name: str, scale: float) -> DecoderLayer:
        attention, cross = f"{name}.attn", f"{name}.cross_attn"
        return DecoderLayer(
            self.norm(f"{name}.attn_ln"),
            self.linear(f"{attention}.query", f"{attention}.key", f"{attention}.value", scale=scale),
            self.linear(f"{attention}.out"),
            self.norm(f"{name}.cross_attn_ln"),
            self.linear(f"{cross}.query", scale=scale),
            self.linear(f"{cross}.key", f"{cross}.value"),
            self.linear(f"{cross}.out"),
            self.norm(f"{name}.mlp_ln"),
            self.linear(f"{name}.mlp.0"),
            self.linear(f"{name}.mlp.2"),
        )
