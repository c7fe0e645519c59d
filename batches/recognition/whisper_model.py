"""openai-whisper's model with a forward pass made for batches of short chunks.

The weights, the layers' arithmetic and the tokens are openai-whisper's. What differs is how it is run: the
encoder sees only the frames in use, the decoder keeps keys and values in place, the projections of
self-attention are one product, and the output layer covers only the tokens that may be written (as int8 on
a CPU, which costs no accuracy there).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody gives it
from torch import Tensor, nn
from whisper import _ALIGNMENT_HEADS, load_model  # the heads are nowhere public
from whisper.audio import HOP_LENGTH, log_mel_spectrogram
from whisper.tokenizer import Tokenizer, get_tokenizer

from .errors import ModelUnavailable
from .media import Samples
from .model_store import WhisperCheckpoint

FRAMES_PER_SECOND = 50  # encoder frames
SAMPLES_PER_FRAME = 2 * HOP_LENGTH  # one encoder frame is two mel frames


@dataclass(slots=True)
class Memory:
    """What the decoder keeps of a batch: (layers) tensors of (rows, heads, positions, head size)."""

    cross_keys: list[Tensor]
    cross_values: list[Tensor]
    aligned_keys: dict[int, Tensor]  # by layer, the cross-attention keys of its alignment heads
    keys: list[Tensor]
    values: list[Tensor]
    length: int = 0  # positions filled so far

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        for tensors in (self.cross_keys, self.cross_values, self.keys, self.values):
            tensors[:] = [tensor[rows] for tensor in tensors]
        self.aligned_keys = {layer: keys[rows] for layer, keys in self.aligned_keys.items()}


class WhisperModel:
    """One loaded checkpoint. Not safe for use by two threads at once."""

    def __init__(self, checkpoint: WhisperCheckpoint, *, threads: int = 1, device: str = "cpu") -> None:
        torch.set_num_threads(threads)
        try:
            model = load_model(str(checkpoint.path), device=device)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise ModelUnavailable(
                f"The Whisper model '{checkpoint.name}' cannot be read: {error}"
            ) from error
        if checkpoint.official in _ALIGNMENT_HEADS:
            model.set_alignment_heads(_ALIGNMENT_HEADS[checkpoint.official])
        model.eval()
        self.name = checkpoint.name
        self.dims = model.dims
        self.device = torch.device(device)
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.multilingual: bool = model.is_multilingual
        self.languages: int = model.num_languages
        self._encoder: Any = model.encoder.to(self.dtype)
        self._decoder: Any = model.decoder.to(self.dtype)
        self._blocks = [_DecoderBlock(block) for block in self._decoder.blocks]
        self.alignment_heads = _heads_by_layer(model.alignment_heads)
        self._output = self._make_output()

    def tokenizer(self, language: str | None) -> Tokenizer:
        return get_tokenizer(
            self.multilingual, num_languages=self.languages, language=language, task="transcribe"
        )

    def _make_output(self) -> nn.Module:
        """The output layer over the text tokens and the end of text, which come first in the vocabulary."""
        embedding = self._decoder.token_embedding.weight
        count = self.tokenizer("en").eot + 1
        layer = nn.Linear(embedding.shape[1], count, bias=False, device=self.device, dtype=self.dtype)
        with torch.no_grad():
            layer.weight.copy_(embedding[:count])
        if self.device.type != "cpu":
            return layer
        quantization: Any = torch.ao.quantization  # its functions carry no types
        config = {nn.Linear: quantization.per_channel_dynamic_qconfig}
        quantised: nn.Module = quantization.quantize_dynamic(nn.Sequential(layer), config, torch.qint8)
        return quantised

    def mel(self, samples: Samples, frames: int) -> Tensor:
        """Log-mel spectrogram, (mels, 2 * frames), of at most ``frames`` encoder frames of sound."""
        padded = np.zeros(frames * SAMPLES_PER_FRAME, dtype=np.float32)
        padded[: len(samples)] = samples[: len(padded)]
        spectrogram: Tensor = log_mel_spectrogram(torch.from_numpy(padded), self.dims.n_mels)
        return spectrogram

    @torch.inference_mode()
    def encode(self, mels: Tensor) -> Tensor:
        """(rows, mels, 2 * frames) to (rows, frames, state); only as many frames as there are."""
        encoder = self._encoder
        x = F.gelu(encoder.conv1(mels.to(self.device, self.dtype)))
        x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
        x = (x + encoder.positional_embedding[: x.shape[1]]).to(self.dtype)
        for block in encoder.blocks:
            x = block(x)
        result: Tensor = encoder.ln_post(x)
        return result

    @torch.inference_mode()
    def remember(self, features: Tensor, positions: int) -> Memory:
        """A batch's cross-attention keys and values, and room for ``positions`` tokens."""
        rows, heads = features.shape[0], self.dims.n_text_head
        size = self.dims.n_text_state // heads
        cross = [block.cross(features, heads) for block in self._blocks]
        room = [
            torch.empty(rows, heads, positions, size, dtype=self.dtype, device=self.device)
            for _ in range(2 * len(self._blocks))
        ]
        return Memory(
            [keys for keys, _ in cross],
            [values for _, values in cross],
            {layer: cross[layer][0][:, heads] for layer, heads in self.alignment_heads.items()},
            room[: len(self._blocks)],
            room[len(self._blocks) :],
        )

    @torch.inference_mode()
    def step(self, tokens: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Feed (rows, n) tokens. Returns the last layer, (rows, n, state), and the alignment heads' scores.

        The scores are (rows, alignment heads, n, audio frames), before the softmax.
        """
        start, count = memory.length, tokens.shape[1]
        decoder = self._decoder
        x = decoder.token_embedding(tokens) + decoder.positional_embedding[start : start + count]
        scores = []
        for index, block in enumerate(self._blocks):
            x = block.attend(x, memory.keys[index], memory.values[index], start)
            x, query = block.cross_attend(x, memory.cross_keys[index], memory.cross_values[index])
            if index in memory.aligned_keys:
                keys = memory.aligned_keys[index]
                scores.append(query[:, self.alignment_heads[index]] @ keys.transpose(-1, -2) * block.scale)
            x = block.feed_forward(x)
        memory.length += count
        last: Tensor = decoder.ln(x)
        return last, torch.cat(scores, dim=1)

    @torch.inference_mode()
    def text_logits(self, hidden: Tensor) -> Tensor:
        """(rows, state) to (rows, text tokens and the end of text), float32."""
        logits: Tensor = self._output(hidden)
        return logits.float()

    @torch.inference_mode()
    def all_logits(self, hidden: Tensor) -> Tensor:
        """(rows, state) to (rows, whole vocabulary), float32, unquantised: for the special tokens."""
        logits: Tensor = hidden @ self._decoder.token_embedding.weight.T
        return logits.float()


class _DecoderBlock:
    """One residual attention block of the decoder, with its weights laid out for steps of one token."""

    def __init__(self, block: Any) -> None:
        attention, cross = block.attn, block.cross_attn
        self._heads: int = attention.n_head
        self.scale = (attention.query.weight.shape[0] // self._heads) ** -0.5
        self._norms = (block.attn_ln, block.cross_attn_ln, block.mlp_ln)
        no_bias = torch.zeros_like(attention.query.bias)
        self._qkv = (
            torch.cat([attention.query.weight, attention.key.weight, attention.value.weight]).detach(),
            torch.cat([attention.query.bias, no_bias, attention.value.bias]).detach(),
        )
        self._out = (attention.out.weight, attention.out.bias)
        self._cross_query = (cross.query.weight, cross.query.bias)
        self._cross_key, self._cross_value = cross.key, cross.value
        self._cross_out = (cross.out.weight, cross.out.bias)
        self._first = (block.mlp[0].weight, block.mlp[0].bias)
        self._second = (block.mlp[2].weight, block.mlp[2].bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self._heads, -1).transpose(1, 2)

    def cross(self, features: Tensor, heads: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the audio, (rows, heads, frames, head size)."""
        shape = (*features.shape[:2], heads, -1)
        keys = self._cross_key(features).view(shape).transpose(1, 2).contiguous()
        values = self._cross_value(features).view(shape).transpose(1, 2).contiguous()
        return keys, values

    def attend(self, x: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        query, key, value = F.linear(_norm(self._norms[0], x), *self._qkv).chunk(3, dim=-1)
        end = start + x.shape[1]
        keys[:, :, start:end] = self._split(key)
        values[:, :, start:end] = self._split(value)
        seen = F.scaled_dot_product_attention(
            self._split(query), keys[:, :, :end], values[:, :, :end], is_causal=x.shape[1] > 1
        )
        return x + F.linear(seen.transpose(1, 2).flatten(2), *self._out)

    def cross_attend(self, x: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        query = self._split(F.linear(_norm(self._norms[1], x), *self._cross_query))
        heard = F.scaled_dot_product_attention(query, keys, values)
        return x + F.linear(heard.transpose(1, 2).flatten(2), *self._cross_out), query

    def feed_forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(F.linear(_norm(self._norms[2], x), *self._first))
        return x + F.linear(hidden, *self._second)


def _norm(layer: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def _heads_by_layer(heads: Tensor) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for layer, head in heads.indices().T.tolist():
        found.setdefault(layer, []).append(head)
    return found
