"""Beam search over a batch of chunks, by openai-whisper's rules without timestamps.

At each step every chunk keeps the ``width`` most likely hypotheses; of the finished ones, that with the best
mean log-probability per token is selected, as in ``whisper.decoding.BeamSearchDecoder`` with its defaults.
The hypotheses of one chunk are queries of one cross-attention, so that its keys and values exist once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from batches.recognition.asr.whisper_model import KVCache


class BeamNetwork(Protocol):
    """Whisper's decoder."""

    @property
    def device(self) -> torch.device: ...

    def new_cache(self, features: Tensor, positions: int) -> KVCache: ...

    def step(self, tokens: Tensor, cache: KVCache) -> tuple[Tensor, Tensor]: ...

    def step_beams(self, tokens: Tensor, cache: KVCache) -> Tensor: ...

    def text_logits(self, hidden: Tensor) -> Tensor: ...

    def refine_logits(self, hidden: Tensor, plain: Tensor, logits: Tensor) -> None: ...


@dataclass(slots=True)
class _Search:
    """Hypotheses of one chunk: the active ones, as tokens with the sum of their log-probabilities."""

    row: int  # of the batch at the start
    limit: int  # tokens
    going: list[tuple[list[int], float]] = field(default_factory=lambda: [([], 0.0)])
    ended: list[tuple[list[int], float]] = field(default_factory=list)  # with their mean log-probability

    def best(self) -> list[int]:
        unended = [(tokens, total / max(1, len(tokens))) for tokens, total in self.going]
        return max(self.ended or unended, key=lambda each: each[1])[0]

    def is_done(self, width: int) -> bool:
        return len(self.ended) >= width or not self.going or len(self.going[0][0]) >= self.limit


@torch.inference_mode()
def search(
    network: BeamNetwork,
    features: Tensor,
    initial: Tensor,
    *,
    limits: list[int],
    masks: tuple[Tensor, Tensor],
    end: int,
    width: int,
) -> list[list[int]]:
    """Search the best tokens of each chunk, without the end of text.

    ``features`` are (rows, frames, state), ``initial`` the (rows, n) initial tokens, ``masks`` the values
    added to the logits of the first token and of all later ones, (vocabulary,) each.
    """
    searches = [_Search(row, limit) for row, limit in enumerate(limits)]
    found: dict[int, list[int]] = {}
    cache = network.new_cache(features, initial.shape[1] + max(limits) + 1)
    hidden = network.step(initial, cache)[0][:, -1:]
    cache.spread(width)
    mask = masks[0]
    while True:
        origins, following = _advance(network, searches, hidden, mask, end, width)
        mask = masks[1]
        kept = [index for index, each in enumerate(searches) if not each.is_done(width)]
        found |= {each.row: each.best() for each in searches if each.is_done(width)}
        if not kept:
            return [found[row] for row in range(len(limits))]
        cache.select_beams(kept, [origins[index] for index in kept], width)
        searches = [searches[index] for index in kept]
        tokens = torch.tensor([following[index] for index in kept], device=network.device)
        hidden = network.step_beams(tokens, cache)


def _advance(
    network: BeamNetwork, searches: list[_Search], hidden: Tensor, mask: Tensor, end: int, width: int
) -> tuple[list[list[int]], list[list[int]]]:
    """Extend each hypothesis by one token. Returns, by chunk, the parent of each and its new token."""
    rows, beams, state = hidden.shape
    flat = hidden.reshape(rows * beams, state)
    plain = network.text_logits(flat)
    logits = plain + mask
    network.refine_logits(flat, plain, logits)
    values, tokens = logits.topk(width + 1, dim=-1)
    values = values - plain.logsumexp(dim=-1, keepdim=True)
    scores = values.view(rows, beams, width + 1).tolist()
    names = tokens.view(rows, beams, width + 1).tolist()
    origins: list[list[int]] = []
    following: list[list[int]] = []
    for one, score, name in zip(searches, scores, names, strict=True):
        candidates = sorted(
            (
                (total + score[beam][place], beam, name[beam][place])
                for beam, (_, total) in enumerate(one.going)
                for place in range(width + 1)
            ),
            reverse=True,
        )
        going: list[tuple[list[int], float]] = []
        came: list[int] = []
        for total, beam, token in candidates:
            text = one.going[beam][0]
            if token == end:
                if len(one.ended) < width:
                    one.ended.append((text, total / (len(text) + 1)))
            elif len(going) < width:
                going.append(([*text, token], total))
                came.append(beam)
            if len(going) == width:
                break
        one.going = going
        origins.append(came)
        following.append([text[-1] for text, _ in going])
    return origins, following
