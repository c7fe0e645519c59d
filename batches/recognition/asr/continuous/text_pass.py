"""`TextPass`: teacher-forced pass, in which the decoder reads whole texts at once instead of writing them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor

from batches.recognition.asr.continuous.weights import DecoderLayer, DeviceWeights

_LOGIT_ROWS = 256  # whose logits are in memory at once: 0.13 GB in half precision


class TextPass:
    """Forward pass of the decoder over texts of several chunks. The arithmetic is the decoding step's."""

    def __init__(self, weights: DeviceWeights) -> None:
        self.weights = weights
        self._alignment_heads = {
            layer: torch.tensor(heads, device=weights.device)
            for layer, heads in weights.alignment_heads.items()
        }

    @torch.inference_mode()
    def __call__(
        self, encoded: Tensor, tokens: Tensor, *, aligned: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The last layer, (chunks, texts, length, state), and the alignment heads' scores if ``aligned``.

        ``encoded`` are (chunks, frames, state), ``tokens`` (chunks, texts, length): texts with their initial
        tokens, padded at the end, since a place depends only on those before it. The scores of the
        cross-attention before the softmax are (chunks, alignment heads, texts * length, frames).
        """
        weights = self.weights
        chunks, texts, length = tokens.shape
        x = weights.embedding[tokens] + weights.positions[:length]
        x = x.view(chunks * texts, length, -1)
        scores = []
        for number, layer in enumerate(weights.decoder_layers):
            x = self._attend(x, layer)
            together = x.view(chunks, texts * length, -1)
            heads = self._alignment_heads.get(number) if aligned else None
            x, found = self._cross_attend(together, layer, encoded, heads)
            x = x.view(chunks * texts, length, -1)
            scores += found
            hidden = F.gelu(F.linear(F.layer_norm(x, *layer.mlp_norm), *layer.up))
            x = x + F.linear(hidden, *layer.down)
        last = F.layer_norm(x, *weights.decoder_norm).view(chunks, texts, length, -1)
        return last, torch.cat(scores, dim=1) if scores else None

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(rows, n, parts * state) to ``parts`` tensors of (rows, heads, n, head size)."""
        weights = self.weights
        split = x.view(*x.shape[:2], parts, weights.heads, weights.head_size)
        return split.permute(2, 0, 3, 1, 4).unbind()

    def _attend(self, x: Tensor, layer: DecoderLayer) -> Tensor:
        """Causal self-attention of (texts, length, state)."""
        query, key, value = self._split(F.linear(F.layer_norm(x, *layer.attention_norm), *layer.qkv), 3)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        return x + F.linear(attended.transpose(1, 2).reshape(x.shape), *layer.out)

    def _cross_attend(
        self, x: Tensor, layer: DecoderLayer, encoded: Tensor, heads: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Attention of (chunks, n, state) to the audio, and the scores of the named heads, if there are any.

        The texts of a chunk attend to it as if they were one. Keys and values are computed here, so that
        only those of one layer are in memory.
        """
        (query,) = self._split(F.linear(F.layer_norm(x, *layer.cross_norm), *layer.cross_query), 1)
        key, value = self._split(F.linear(encoded, *layer.cross_kv), 2)
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        scores = [] if heads is None else [query[:, heads] @ key[:, heads].transpose(-1, -2)]
        return x + F.linear(attended.transpose(1, 2).reshape(x.shape), *layer.cross_out), scores

    @torch.inference_mode()
    def logprobs(self, hidden: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        """(n,) log-probabilities of ``tokens`` (n,) after ``places`` (n,) of ``hidden`` (all places, state).

        Tokens that decoding never chooses have their share too, as in the decoding step.
        """
        weights, found = self.weights, []
        for at, token in zip(*(torch.split(each, _LOGIT_ROWS) for each in (places, tokens)), strict=True):
            logits = F.linear(hidden[at], weights.output, weights.output_bias)
            every = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
            found.append(every.gather(1, token[:, None])[:, 0])
        return torch.cat(found)

    @torch.inference_mode()
    def no_speech(self, hidden: Tensor, token: int) -> Tensor:
        """(n,) probability of silence, by the last layer at the start of the transcript, (n, state)."""
        return (hidden @ self.weights.embedding.T).float().softmax(dim=-1)[:, token]
