"""Optimised versions of openai-whisper's residual attention blocks.

The arithmetic is that of ``whisper.model.ResidualAttentionBlock``. ``dtype`` is the type of the matrix
products; the residual stream keeps its own type.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor

Affine = tuple[Tensor, Tensor | None]  # weight and bias of a linear layer


class _Block:
    """Common part of encoder and decoder blocks: norms, self-attention projections, feed-forward."""

    def __init__(self, block: Any, dtype: torch.dtype, device: torch.device) -> None:
        attention = block.attn
        self._dtype, self._device = dtype, device
        self._heads: int = attention.n_head
        self._norms = (block.attn_ln, block.cross_attn_ln, block.mlp_ln)
        self._qkv = self._stack(attention.query, attention.key, attention.value)
        self._out = self._stack(attention.out)
        self._first, self._second = self._stack(block.mlp[0]), self._stack(block.mlp[2])

    def _stack(self, *layers: Any) -> Affine:
        """Stack several linear layers into one. Whisper's keys have no bias."""
        weight = torch.cat([layer.weight for layer in layers]).detach().to(self._device, self._dtype)
        biases = [
            layer.bias if layer.bias is not None else torch.zeros_like(layer.weight[:, 0]) for layer in layers
        ]
        return weight, torch.cat(biases).detach().to(self._device, self._dtype)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)

    def _normed(self, number: int, x: Tensor) -> Tensor:
        layer = self._norms[number]
        normed = F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)
        return normed.to(self._dtype)

    def feed_forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(F.linear(self._normed(2, x), *self._first))
        return x + F.linear(hidden, *self._second)


class EncoderBlock(_Block):
    """Encoder block: (rows, frames, state) to the same shape."""

    def __call__(self, x: Tensor) -> Tensor:
        query, key, value = F.linear(self._normed(0, x), *self._qkv).chunk(3, dim=-1)
        heard = self._attend(self._split(query), self._split(key), self._split(value))
        return self.feed_forward(x + F.linear(heard, *self._out))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if query.device.type != "cpu" or query.dtype == torch.float32:
            return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        # torch's own attention does not use the processor's 16-bit products; a row at a time fits the cache.
        query = query * query.shape[-1] ** -0.5
        rows = [
            (torch.softmax(q @ k.transpose(-1, -2), dim=-1) @ v).transpose(0, 1).flatten(1)
            for q, k, v in zip(query, key, value, strict=True)
        ]
        return torch.stack(rows)


class DecoderBlock(_Block):
    """Decoder block, for steps of one token."""

    def __init__(self, block: Any, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(block, dtype, device)
        cross = block.cross_attn
        self._scale = (cross.query.weight.shape[0] // self._heads) ** -0.5
        self._cross_query = self._stack(cross.query)
        self._cross_key, self._cross_value = self._stack(cross.key), self._stack(cross.value)
        self._cross_out = self._stack(cross.out)

    def cross(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the audio, (rows, heads, frames, head size)."""
        heard = features.to(self._dtype)
        keys = self._split(F.linear(heard, *self._cross_key)).contiguous()
        values = self._split(F.linear(heard, *self._cross_value)).contiguous()
        return keys, values

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """Self-attention; writes its keys and values for the positions from ``start``."""
        query, key, value = F.linear(self._normed(0, x), *self._qkv).chunk(3, dim=-1)
        end = start + x.shape[1]
        keys[:, :, start:end] = self._split(key)
        values[:, :, start:end] = self._split(value)
        query, keys, values = self._split(query), keys[:, :, :end], values[:, :, :end]
        if x.shape[1] > 1:
            seen = F.scaled_dot_product_attention(query, keys, values, is_causal=True)
        else:
            seen = self._look_up(query, keys, values)[0]
        return x + F.linear(seen.transpose(1, 2).flatten(2), *self._out)

    def cross_attend(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Attention to the audio, and its scores before the softmax, (rows, heads, tokens, frames)."""
        query = self._split(F.linear(self._normed(1, x), *self._cross_query))
        heard, scores = self._look_up(query, keys, values)
        return x + F.linear(heard.transpose(1, 2).flatten(2), *self._cross_out), scores

    def _look_up(self, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of a few tokens, and its scores. Two plain products are faster than torch's attention."""
        scores = (query * self._scale) @ keys.transpose(-1, -2)
        weights = torch.softmax(scores.float(), dim=-1).to(self._dtype)
        return weights @ values, scores
