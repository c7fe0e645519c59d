"""Decoding step: one step of all rows of a static batch on the device, without synchronising with the host.

The step has no branch on a tensor's value, no shape that depends on one and no copy to the host, so it can be
captured as a CUDA graph. There is no prefill: a row's initial tokens go through the same step, one by one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the conventional name
from torch import Tensor
from whisper.tokenizer import Tokenizer

from batches.recognition.asr.continuous.gumbel_noise import GumbelNoise
from batches.recognition.asr.continuous.keyword_tables import KeywordTables
from batches.recognition.asr.continuous.static_batch import StaticBatch
from batches.recognition.asr.continuous.weights import DecoderLayer, DeviceWeights


class DecodingStep:
    """Decoding step for one set of weights, by openai-whisper's token rules without timestamps."""

    def __init__(self, weights: DeviceWeights, tokenizer: Tokenizer) -> None:
        self.weights = weights
        self._end = weights.text_tokens - 1
        device = weights.device
        self._noise = GumbelNoise(len(weights.output), device)
        never = [token for token in tokenizer.non_speech_tokens if token < weights.text_tokens]
        self._never = torch.tensor(never, device=device)
        self._not_first = torch.tensor([*tokenizer.encode(" "), tokenizer.eot], device=device)
        self._alignment_heads = {
            layer: torch.tensor(heads, device=device) for layer, heads in weights.alignment_heads.items()
        }

    def __call__(
        self, batch: StaticBatch, rows: int, positions: int, keywords: KeywordTables | None, *, sampling: bool
    ) -> None:
        """Advance the first ``rows`` rows, none of which is at position ``positions`` or beyond.

        Without ``keywords`` no row has any; with ``sampling`` rows may have a temperature.
        """
        hidden = self._forward(batch, rows, positions)
        position, done = batch.position[:rows], batch.done[:rows]
        at_start = (position == batch.start_of_transcript[:rows])[:, None]
        batch.first_hidden[:rows] = torch.where(at_start, hidden, batch.first_hidden[:rows])
        # Tokens written so far; below 0 while the initial tokens are read.
        count = position - batch.initial_length[:rows] + 1
        chosen, logprob = self._choose(batch, hidden, count, keywords, sampling=sampling)
        if keywords is not None:
            state = batch.keywords[:rows]
            reached = keywords.advance(state, chosen)
            batch.keywords[:rows] = torch.where((count < 0) | done, state, reached)
        self._advance(batch, chosen, logprob, count)

    def _forward(self, batch: StaticBatch, rows: int, positions: int) -> Tensor:
        """The decoder's last layer, (rows, state). Writes KV cache and the alignment heads' queries."""
        weights = self.weights
        position, numbers = batch.position[:rows], batch.row_numbers[:rows]
        x = weights.embedding[batch.token[:rows]] + weights.positions[position]
        later = batch.places[:positions] > position[:, None]
        mask = x.new_zeros(rows, positions).masked_fill(later, -torch.inf)[:, None, None]
        queries = []
        for number, layer in enumerate(weights.decoder_layers):
            x = self._attend(x, layer, batch.cache[number], numbers, position, mask)
            x, query = self._cross_attend(x, layer, batch.cross[number][:, :rows])
            if number in self._alignment_heads:
                queries.append(query[:, self._alignment_heads[number], 0])
            hidden = F.gelu(F.linear(F.layer_norm(x, *layer.mlp_norm), *layer.up))
            x = x + F.linear(hidden, *layer.down)
        batch.queries[numbers, position] = torch.cat(queries, dim=1)
        return F.layer_norm(x, *weights.decoder_norm)

    def _attend(
        self, x: Tensor, layer: DecoderLayer, cache: Tensor, numbers: Tensor, position: Tensor, mask: Tensor
    ) -> Tensor:
        """Self-attention over the cache, which gets this step's keys and values first."""
        rows, positions = len(numbers), mask.shape[-1]
        qkv = F.linear(F.layer_norm(x, *layer.attention_norm), *layer.qkv)
        qkv = qkv.view(rows, 3, self.weights.heads, self.weights.head_size)
        cache[:, numbers, :, position] = qkv[:, 1:]
        keys, values = cache[:, :rows, :, :positions].unbind()
        query = qkv[:, 0].unsqueeze(2)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=1.0)
        return x + F.linear(attended.reshape(rows, -1), *layer.out)

    def _cross_attend(self, x: Tensor, layer: DecoderLayer, cross: Tensor) -> tuple[Tensor, Tensor]:
        """Attention to the audio, and its scaled queries, (rows, heads, 1, head size)."""
        rows = x.shape[0]
        query = F.linear(F.layer_norm(x, *layer.cross_norm), *layer.cross_query)
        query = query.view(rows, self.weights.heads, 1, self.weights.head_size)
        keys, values = cross.unbind()
        attended = F.scaled_dot_product_attention(query, keys, values, scale=1.0)
        return x + F.linear(attended.reshape(rows, -1), *layer.cross_out), query

    def _choose(
        self,
        batch: StaticBatch,
        hidden: Tensor,
        count: Tensor,
        keywords: KeywordTables | None,
        *,
        sampling: bool,
    ) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability, before keywords and temperature, (rows,)."""
        rows, weights = len(count), self.weights
        logits = F.linear(hidden, weights.output, weights.output_bias)
        logprobs = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        # No token set to -inf here is ever chosen, so the probabilities that are read stay as they are.
        logprobs.index_fill_(1, self._never, -torch.inf)
        not_first = logprobs[:, self._not_first].masked_fill((count <= 0)[:, None], -torch.inf)
        logprobs[:, self._not_first] = not_first
        scores = logprobs
        if keywords is not None:
            scores = scores + keywords.bias[batch.bias[:rows] + (count > 0)]
            state = batch.keywords[:rows]
            scores.scatter_add_(1, keywords.bonus_tokens[state], keywords.bonus[state])
        if sampling:
            temperature = batch.temperature[:rows, None]
            warm = temperature > 0
            # At temperature 0 the scores are multiplied by 1, and the noise by 0.
            scores = scores / torch.where(warm, temperature, 1.0)
            scores = scores.addcmul_(self._noise(batch.seed[:rows], count), warm.float())
        chosen = scores.argmax(dim=-1)
        return chosen, logprobs.gather(1, chosen[:, None])[:, 0]

    def _advance(self, batch: StaticBatch, chosen: Tensor, logprob: Tensor, count: Tensor) -> None:
        """Store the chosen tokens and advance the positions. Finished rows do not change."""
        rows = len(chosen)
        numbers, position, done = batch.row_numbers[:rows], batch.position[:rows], batch.done[:rows]
        reading = count < 0
        place = count.clamp(min=0)
        batch.tokens[numbers, place] = torch.where(done, batch.tokens[numbers, place], chosen)
        batch.logprobs[numbers, place] = torch.where(done, batch.logprobs[numbers, place], logprob)
        full = count + 1 >= batch.limit[:rows]
        ended = done | (~reading & ((chosen == self._end) | full))
        next_place = (position + 1).clamp(max=batch.initial.shape[1] - 1)
        given = batch.initial[:rows].gather(1, next_place[:, None])[:, 0]
        following = torch.where(reading, given, chosen)
        batch.token[:rows] = torch.where(ended, batch.token[:rows], following)
        batch.position[:rows] = torch.where(ended, position, position + 1)
        batch.done[:rows] = ended
