"""Greedy (or sampled) decoding of a batch of chunks, by openai-whisper's token rules without timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.tokenizer import Tokenizer

from batches.recognition.alignment import word_times
from batches.recognition.asr.keywords import KeywordTree, KeywordWalker
from batches.recognition.asr.quality import compression_ratio, loop_start
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND, WhisperModel

MAX_TOKENS = 224  # half of Whisper's context, as in openai-whisper
_TOKENS_PER_SECOND = 14  # more than anybody speaks, in any script
_LOOP_CHECK = 8  # steps between two looks for loops
_KEEP_SHARE = 0.75  # rows still running, of those in the batch, below which the others are dropped


@dataclass(slots=True)
class Decoded:
    """What one chunk decodes to."""

    tokens: list[int]  # text tokens only
    logprobs: list[float]  # of each token
    mean_logprob: float  # over the tokens and the end of text
    no_speech_probability: float
    text: str
    compression_ratio: float
    looped: bool  # it was stopped in a loop, which is cut off
    # The frame at which each token, and then the end, is first heard.
    entered: list[float]
    temperature: float = 0.0


@dataclass(slots=True)
class DecodingOptions:
    """What may be written, and what is preferred."""

    tokenizer: Tokenizer
    prompt: list[int] = field(default_factory=list)  # text tokens that come before, e.g. keywords
    keywords: KeywordTree | None = None
    temperature: float = 0.0

    def initial_tokens(self) -> list[int]:
        tokenizer = self.tokenizer
        before = [tokenizer.sot_prev, *self.prompt] if self.prompt else []
        return [*before, *tokenizer.sot_sequence_including_notimestamps]

    def masks(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """What is added to the logits at the first step and at the later ones."""
        tokenizer = self.tokenizer
        size = tokenizer.eot + 1
        later = torch.zeros(size)
        later[[token for token in tokenizer.non_speech_tokens if token < size]] = -torch.inf
        first = later.clone()
        first[[*tokenizer.encode(" "), tokenizer.eot]] = -torch.inf
        if self.keywords:
            first += self.keywords.start_bias(size, at_start=True)
            later += self.keywords.start_bias(size, at_start=False)
        return first.to(device), later.to(device)


@dataclass(slots=True)
class _Row:
    """One chunk on its way through the decoder."""

    index: int  # in the caller's batch
    max_tokens: int
    no_speech: float
    walker: KeywordWalker | None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    looped: bool = False
    done: bool = False

    def take(self, token: int, logprob: float, eot: int) -> None:
        self.logprobs.append(logprob)
        if token == eot:
            self.done = True
            return
        self.tokens.append(token)
        if self.walker:
            self.walker.advance(token)
        if len(self.tokens) % _LOOP_CHECK == 0 and (start := loop_start(self.tokens)) is not None:
            self.looped = self.done = True
            del self.tokens[start:]
            del self.logprobs[start:]
        elif len(self.tokens) >= self.max_tokens:
            self.done = True


class BatchDecoder:
    """Decodes batches of encoded chunks by one set of rules."""

    def __init__(self, model: WhisperModel, rules: DecodingOptions) -> None:
        self._model, self._rules = model, rules
        self._eot = rules.tokenizer.eot
        self._lead = len(rules.tokenizer.sot_sequence)
        self._first, self._later = rules.masks(model.device)

    @torch.inference_mode()
    def run(self, features: Tensor, seconds: Sequence[float]) -> list[Decoded]:
        """``features`` are the encoder's (rows, frames, state); ``seconds`` of sound in each row."""
        model, rules = self._model, self._rules
        initial = rules.initial_tokens()
        cache = model.new_cache(features, len(initial) + MAX_TOKENS)
        prompt = torch.tensor([initial] * len(seconds), device=model.device)
        hidden, scores = model.step(prompt, cache)
        rows = self._make_rows(hidden, seconds, len(initial))
        for row in rows:
            read = scores[row.index, :, -self._lead - 1 : -1, : _frames(seconds[row.index], features)]
            row.scores = list(read.float().cpu().numpy().swapaxes(0, 1))
        active, finished = rows, 0
        hidden, scores, mask = hidden[:, -1], scores[:, :, -1], self._first
        while True:
            chosen = self._choose(hidden, mask, active)
            block = scores.float().cpu().numpy()
            for position, (row, (token, logprob)) in enumerate(zip(active, chosen, strict=True)):
                if not row.done:
                    row.scores.append(block[position, :, : _frames(seconds[row.index], features)])
                    row.take(token, logprob, self._eot)
            finished = sum(row.done for row in active)
            if finished == len(active):
                break
            if len(active) - finished <= _KEEP_SHARE * len(active):
                kept = [position for position, row in enumerate(active) if not row.done]
                cache.select(torch.tensor(kept, device=model.device))
                active = [active[position] for position in kept]
            following = [row.tokens[-1] if row.tokens and not row.done else self._eot for row in active]
            hidden, scores = model.step(torch.tensor(following, device=model.device)[:, None], cache)
            hidden, scores, mask = hidden[:, -1], scores[:, :, -1], self._later
        return [self._result(row) for row in rows]

    def _make_rows(self, hidden: Tensor, seconds: Sequence[float], initial: int) -> list[_Row]:
        tokenizer, keywords = self._rules.tokenizer, self._rules.keywords
        at_start = initial - len(tokenizer.sot_sequence_including_notimestamps)
        special = self._model.all_logits(hidden[:, at_start]).softmax(dim=-1)
        no_speech = special[:, tokenizer.no_speech].tolist()
        return [
            _Row(
                index,
                min(MAX_TOKENS, 16 + int(_TOKENS_PER_SECOND * length)),
                no_speech[index],
                keywords.walker() if keywords else None,
            )
            for index, length in enumerate(seconds)
        ]

    def _choose(self, hidden: Tensor, mask: Tensor, active: list[_Row]) -> list[tuple[int, float]]:
        """The next token of each row, with its log-probability."""
        plain = self._model.text_logits(hidden)
        logits = plain + mask
        for position, row in enumerate(active):
            if row.walker and (bonus := row.walker.bonus()):
                logits[position, list(bonus)] += torch.tensor(list(bonus.values()), device=logits.device)
        temperature = self._rules.temperature
        if temperature > 0:
            chosen = torch.multinomial((logits / temperature).softmax(dim=-1), 1)[:, 0]
        else:
            chosen = logits.argmax(dim=-1)
        # Without the keywords' bonus: a boosted word is as sure as the sound makes it.
        of_plain = plain.gather(1, chosen[:, None])[:, 0] - plain.logsumexp(dim=-1)
        return list(zip(chosen.tolist(), of_plain.tolist(), strict=True))

    def _result(self, row: _Row) -> Decoded:
        text = self._rules.tokenizer.decode(row.tokens)
        return Decoded(
            tokens=row.tokens,
            logprobs=row.logprobs[: len(row.tokens)],
            mean_logprob=sum(row.logprobs) / max(1, len(row.logprobs)),
            no_speech_probability=row.no_speech,
            text=text.strip(),
            compression_ratio=compression_ratio(text.strip()),
            looped=row.looped,
            entered=word_times.entered_frames(
                np.stack(row.scores[: self._lead + len(row.tokens) + 1], axis=1), self._lead
            ),
            temperature=self._rules.temperature,
        )


def _frames(seconds: float, features: Tensor) -> int:
    return max(1, min(features.shape[1], round(seconds * FRAMES_PER_SECOND)))
