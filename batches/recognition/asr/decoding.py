"""Batch decoding of chunks: greedy, sampling or beam search, by openai-whisper's rules without timestamps."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.tokenizer import Tokenizer

from batches.recognition.alignment import word_times
from batches.recognition.asr import beam_search, quality
from batches.recognition.asr.chunk_decoder import DecodeRequest, ScoreRequest
from batches.recognition.asr.keywords import KeywordTree, KeywordWalker
from batches.recognition.asr.quality import compression_ratio, loop_start
from batches.recognition.asr.whisper_model import FRAMES_PER_SECOND, WhisperModel
from batches.recognition.media.decoding import SAMPLE_RATE

MAX_TOKENS = 224  # half of Whisper's context, as in openai-whisper
_TOKENS_PER_SECOND = 14  # above any speech rate, in any script
LOOP_CHECK = 8  # steps between two loop checks
_SCORED_TOKENS = 512  # of texts that are scored at once, which bounds the memory of their attention
_SEED_STRIDE = 256  # samples of which one is looked at for the seed of an attempt
_KEEP_SHARE = 0.75  # share of running rows below which finished rows are dropped


@dataclass(slots=True)
class Decoded:
    """Decoding result of one chunk."""

    tokens: list[int]  # text tokens only
    logprobs: list[float]  # of each token
    mean_logprob: float  # over the tokens and the end of text
    no_speech_probability: float
    text: str
    compression_ratio: float
    looped: bool  # decoding stopped in a loop, which is cut off
    entered: list[float]  # encoder frame at which each token, and then the end of text, begins
    temperature: float = 0.0


def initial_tokens(request: DecodeRequest, tokenizer: Tokenizer) -> list[int]:
    """Initial tokens of the decoder: prompt, start of transcript, language, task."""
    before = [tokenizer.sot_prev, *request.prompt] if request.prompt else []
    return [*before, *tokenizer.sot_sequence_including_notimestamps]


def token_limit(seconds: float) -> int:
    """Maximum number of tokens of a chunk's text."""
    return min(MAX_TOKENS, 16 + int(_TOKENS_PER_SECOND * seconds))


def digit_tokens(tokenizer: Tokenizer) -> Tensor:
    """Text tokens with a digit of any script."""
    texts = (tokenizer.encoding.decode([token]) for token in range(tokenizer.eot))
    return torch.tensor([token for token, text in enumerate(texts) if quality.has_digits(text)])


def sampling_seed(request: DecodeRequest) -> int:
    """Sampling seed of an attempt: the same audio gives the same text, independent of its batch."""
    return zlib.crc32(request.samples[::_SEED_STRIDE].tobytes()) + round(1000 * request.temperature)


@dataclass(slots=True)
class _Row:
    """Row of the batch: one chunk during decoding."""

    index: int  # in the caller's batch
    tokenizer: Tokenizer
    max_tokens: int
    frames: int  # encoder frames that contain the chunk's audio
    temperature: float
    walker: KeywordWalker | None
    masks: tuple[Tensor, Tensor]  # added to the logits of the first token, and of all later ones
    generator: torch.Generator | None  # of the sampling noise, if the temperature is above 0
    no_speech: float = 0.0
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    looped: bool = False
    done: bool = False

    def take(self, token: int, logprob: float) -> None:
        self.logprobs.append(logprob)
        if token == self.tokenizer.eot:
            self.done = True
            return
        self.tokens.append(token)
        if self.walker:
            self.walker.advance(token)
        if len(self.tokens) % LOOP_CHECK == 0 and (start := loop_start(self.tokens)) is not None:
            self.looped = self.done = True
            del self.tokens[start:]
            del self.logprobs[start:]
        elif len(self.tokens) >= self.max_tokens:
            self.done = True

    def result(self) -> Decoded:
        lead = len(self.tokenizer.sot_sequence)
        text = self.tokenizer.decode(self.tokens).strip()
        scores = np.stack(self.scores[: lead + len(self.tokens) + 1], axis=1)
        return Decoded(
            tokens=self.tokens,
            logprobs=self.logprobs[: len(self.tokens)],
            mean_logprob=sum(self.logprobs) / max(1, len(self.logprobs)),
            no_speech_probability=self.no_speech,
            text=text,
            compression_ratio=compression_ratio(text),
            looped=self.looped,
            entered=word_times.entered_frames(scores, lead, len(self.tokens)),
            temperature=self.temperature,
        )


class BatchDecoder:
    """Decoder of batches of encoded chunks with one model. Not thread-safe.

    Languages, keywords and temperatures may differ by row; the number of initial tokens must be the same.
    """

    def __init__(self, model: WhisperModel) -> None:
        self._model = model
        self._plain = self._base_masks()
        self._without_digits = self._digit_masks()
        self._of_trees: WeakKeyDictionary[KeywordTree, tuple[Tensor, Tensor]] = WeakKeyDictionary()

    def group(self, request: DecodeRequest) -> Hashable:
        """Batch key: requests with the same key can share a batch."""
        return len(request.prompt), request.beam_width, request.digits, bool(request.text)

    @torch.inference_mode()
    def run(self, features: Tensor, requests: Sequence[DecodeRequest]) -> list[Decoded]:
        """Decode a batch. ``features`` are the encoder's (rows, frames, state), one row per request."""
        model = self._model
        rows = [self._make_row(index, request, features.shape[1]) for index, request in enumerate(requests)]
        initial = [
            initial_tokens(request, row.tokenizer) for request, row in zip(requests, rows, strict=True)
        ]
        if requests[0].text:
            return self._read(features, rows, initial, [list(request.text) for request in requests])
        if requests[0].beam_width > 1:
            return self._search(features, rows, initial, requests[0])
        cache = model.new_cache(features, len(initial[0]) + MAX_TOKENS)
        hidden, scores = model.step(torch.tensor(initial, device=model.device), cache)
        self._read_initial(rows, hidden, scores, len(initial[0]))
        active = rows
        hidden, scores, first = hidden[:, -1], scores[:, :, -1], True
        masks = _stack_masks(active, 0)
        while True:
            chosen = self._choose(hidden, masks, active)
            block = scores.float().cpu().numpy()
            for position, (row, (token, logprob)) in enumerate(zip(active, chosen, strict=True)):
                if not row.done:
                    row.scores.append(block[position, :, : row.frames])
                    row.take(token, logprob)
            finished = sum(row.done for row in active)
            if finished == len(active):
                break
            selected = len(active) - finished <= _KEEP_SHARE * len(active)
            if selected:
                kept = [position for position, row in enumerate(active) if not row.done]
                cache.select(torch.tensor(kept, device=model.device))
                active = [active[position] for position in kept]
            if selected or first:
                masks, first = _stack_masks(active, 1), False
            following = [row.tokens[-1] if row.tokens and not row.done else self._end for row in active]
            hidden, scores = model.step(torch.tensor(following, device=model.device)[:, None], cache)
            hidden, scores = hidden[:, -1], scores[:, :, -1]
        return [row.result() for row in rows]

    def _search(
        self, features: Tensor, rows: list[_Row], initial: list[list[int]], request: DecodeRequest
    ) -> list[Decoded]:
        """Beam search. Keywords are not boosted.

        ``request`` is any of the batch, whose width and digits are the same.
        """
        masks = self._plain if request.digits else self._without_digits
        texts = beam_search.search(
            self._model,
            features,
            torch.tensor(initial, device=self._model.device),
            limits=[row.max_tokens for row in rows],
            masks=masks,
            end=self._end,
            width=request.beam_width,
        )
        return self._read(features, rows, initial, texts)

    def _read(
        self, features: Tensor, rows: list[_Row], initial: list[list[int]], texts: list[list[int]]
    ) -> list[Decoded]:
        """One pass over given texts, for their scores and alignment."""
        model = self._model
        given = torch.tensor(initial, device=model.device)
        longest = max(map(len, texts))
        padded = [[*text, *[self._end] * (longest - len(text))] for text in texts]
        cache = model.new_cache(features, len(initial[0]) + longest)
        whole = torch.cat([given, torch.tensor(padded, device=model.device, dtype=given.dtype)], dim=1)
        hidden, scores = model.step(whole, cache)
        start = len(initial[0])
        self._read_initial(rows, hidden[:, :start], scores[:, :, :start], start)
        for row, text in zip(rows, texts, strict=True):
            last = hidden[row.index, start - 1 : start + len(text)]
            logprobs = model.text_logits(last).log_softmax(dim=-1)
            for place, token in enumerate([*text, self._end]):
                if not row.done:
                    row.scores.append(
                        scores[row.index, :, start - 1 + place, : row.frames].float().cpu().numpy()
                    )
                    row.take(token, float(logprobs[place, token]))
        return [row.result() for row in rows]

    @torch.inference_mode()
    def score(self, features: Tensor, request: ScoreRequest) -> list[float]:
        """Log-probability of each text, with its end. ``features`` are (1, frames, state)."""
        initial = list(self._model.tokenizer(request.language).sot_sequence_including_notimestamps)
        together = max(1, _SCORED_TOKENS // (len(initial) + max(map(len, request.texts))))
        return [
            score
            for start in range(0, len(request.texts), together)
            for score in self._score(features, initial, request.texts[start : start + together])
        ]

    def _score(
        self, features: Tensor, initial: list[int], given: Sequence[tuple[int, ...]]
    ) -> Iterator[float]:
        """The same in one pass."""
        model = self._model
        longest = max(map(len, given)) + 1
        texts = torch.tensor([[*text, *[self._end] * (longest - len(text))] for text in given])
        texts = texts.to(model.device)
        start = torch.tensor([initial] * len(texts), device=model.device)
        cache = model.new_cache(features, len(initial) + longest - 1)
        cache.spread(len(texts))
        hidden = model.step_texts(torch.cat([start, texts[:, :-1]], dim=1), cache)
        last = hidden[:, -longest:].flatten(0, 1)
        logprobs = model.text_logprobs(last, texts.flatten()).view(texts.shape)
        for row, text in zip(logprobs, given, strict=True):
            yield float(row[: len(text) + 1].sum())

    def _make_row(self, index: int, request: DecodeRequest, frames: int) -> _Row:
        seconds = len(request.samples) / SAMPLE_RATE
        generator = None
        if request.temperature > 0:
            generator = torch.Generator().manual_seed(sampling_seed(request))
        return _Row(
            index,
            self._model.tokenizer(request.language),
            token_limit(seconds),
            max(1, min(frames, round(seconds * FRAMES_PER_SECOND))),
            request.temperature,
            request.keywords.walker() if request.keywords else None,
            self._masks(request.keywords),
            generator,
        )

    def _base_masks(self) -> tuple[Tensor, Tensor]:
        tokenizer = self._model.tokenizer("en")
        self._end = tokenizer.eot
        later = torch.zeros(self._end + 1)
        later[[token for token in tokenizer.non_speech_tokens if token <= self._end]] = -torch.inf
        first = later.clone()
        first[[*tokenizer.encode(" "), self._end]] = -torch.inf
        return first.to(self._model.device), later.to(self._model.device)

    def _digit_masks(self) -> tuple[Tensor, Tensor]:
        """The masks with which numbers are written as words."""
        digits = digit_tokens(self._model.tokenizer("en"))
        first, later = (mask.index_fill(0, digits.to(mask.device), -torch.inf) for mask in self._plain)
        return first, later

    def _masks(self, keywords: KeywordTree | None) -> tuple[Tensor, Tensor]:
        if keywords is None:
            return self._plain
        if keywords not in self._of_trees:
            first, later = self._plain
            size = len(first)
            self._of_trees[keywords] = (
                first + keywords.start_bias(size, at_start=True).to(first.device),
                later + keywords.start_bias(size, at_start=False).to(first.device),
            )
        return self._of_trees[keywords]

    def _read_initial(self, rows: list[_Row], hidden: Tensor, scores: Tensor, initial: int) -> None:
        """Read the start's attention and the no-speech probability from the pass of the initial tokens."""
        tokenizer = rows[0].tokenizer
        lead = len(tokenizer.sot_sequence)
        start = initial - len(tokenizer.sot_sequence_including_notimestamps)
        special = self._model.all_logits(hidden[:, start]).softmax(dim=-1)
        no_speech = special[:, tokenizer.no_speech].tolist()
        read = scores[:, :, -lead - 1 : -1].float().cpu().numpy()
        for row in rows:
            row.no_speech = no_speech[row.index]
            row.scores = list(read[row.index, :, :, : row.frames].swapaxes(0, 1))

    def _choose(self, hidden: Tensor, masks: Tensor, active: list[_Row]) -> list[tuple[int, float]]:
        """Choose the next token of each row, with its log-probability."""
        plain = self._model.text_logits(hidden)
        logits = plain + masks
        for position, row in enumerate(active):
            if row.walker and (bonus := row.walker.bonus()):
                logits[position, list(bonus)] += torch.tensor(list(bonus.values()), device=logits.device)
            if row.generator is not None:  # Gumbel-max sampling
                noise = torch.rand(logits.shape[1], generator=row.generator).clamp_(min=1e-10)
                logits[position] -= row.temperature * (-noise.log()).log().to(logits.device)
        self._model.refine_logits(hidden, plain, logits)
        chosen = logits.argmax(dim=-1)
        # Without the keywords' bonus, so that boosting does not raise the confidence.
        of_plain = plain.gather(1, chosen[:, None])[:, 0] - plain.logsumexp(dim=-1)
        return list(zip(chosen.tolist(), of_plain.tolist(), strict=True))


def _stack_masks(rows: list[_Row], which: int) -> Tensor:
    """Masks, (rows, vocabulary), or (1, vocabulary) if all rows have the same mask."""
    masks = [row.masks[which] for row in rows]
    if all(mask is masks[0] for mask in masks):
        return masks[0][None]
    return torch.stack(masks)
