"""Keyword spelling: writes the keywords of a file that a text may have misspelt, where the sound allows it.

A decoder that scores texts tries each keyword in the place of the words that sound like it: one pass for all,
cheaper than decoding again, and no keyword is missed because decoding took another way. It is taken if the
whole text stays likely enough. Other decoders decode the chunk again, with the keywords as prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from batches.recognition.asr.chunk_decoder import ChunkDecoder, DecodeRequest, ScoreRequest, TextScorer, Work
from batches.recognition.asr.decoded_chunk import DecodedChunk
from batches.recognition.asr.decoding import MAX_TOKENS
from batches.recognition.asr.keyword_prompts import KeywordPrompts, Retrieved, spelt
from batches.recognition.asr.keyword_retrieval import Match
from batches.recognition.transcript import KeywordOutcome

_GUESSED_WORD = 0.3  # probability of a word below which it may be a keyword that sounds otherwise


class KeywordSpelling:
    """Spelling of one file's keywords. ``outcomes`` are those of the keywords that were tried, by keyword."""

    def __init__(self, decoder: ChunkDecoder, scorer: TextScorer | None, prompts: KeywordPrompts) -> None:
        self._decoder, self._scorer, self._prompts = decoder, scorer, prompts
        self.outcomes: dict[str, KeywordOutcome] = {}

    def spell(self, chunk: DecodedChunk, request: DecodeRequest) -> Work:
        """Replace the chunk's text by one with keywords. ``request`` is that of a plain attempt."""
        retrieved = self._prompts.retrieve(chunk.words, chunk.language)
        if self._scorer is None:
            if retrieved is not None:
                yield from self._decode(chunk, request, retrieved)
            return
        if retrieved is not None:
            yield from self._score(chunk, request, retrieved, self._scorer)
        short = self._prompts.short_list(chunk.language)
        if short is not None and _has_guesses(chunk, short):
            yield from self._decode_guesses(chunk, request, short)

    def _score(
        self, chunk: DecodedChunk, request: DecodeRequest, retrieved: Retrieved, scorer: TextScorer
    ) -> Work:
        """Score the text with each keyword, and take those that are likely enough."""
        tokenizer = self._prompts.tokenizer(chunk.language)

        def tokens(*kept: Match) -> tuple[int, ...]:
            return tuple(tokenizer.encode(spelt(chunk.words, kept)))

        matches = [match for match in retrieved.matches if len(tokens(match)) <= MAX_TOKENS]
        texts = (tokens(), *map(tokens, matches))
        before, *scores = yield scorer.score(ScoreRequest(request.samples, chunk.language, texts))
        gains = zip(matches, (score - before for score in scores), strict=True)
        kept: list[Match] = []
        for match, gain in sorted(gains, key=lambda each: -each[1]):
            is_free = not any(match.overlaps(other) for other in kept)
            if gain >= -match.margin and is_free and len(tokens(*kept, match)) <= MAX_TOKENS:
                kept.append(match)
        if kept:
            spelling = DecodeRequest(request.samples, chunk.language, text=tokens(*kept))
            (given,) = self._decoder.decode([spelling])
            attempt = yield given
            chunk.take_spelling(attempt, tokenizer, retrieved.tree.positions(attempt.tokens))
        self._note(retrieved.keywords, {match.keyword for match in kept})

    def _decode(self, chunk: DecodedChunk, request: DecodeRequest, retrieved: Retrieved) -> Work:
        """Decode again with the keywords, and take the text if it is likely enough."""
        tree = retrieved.tree
        keyworded = dataclasses.replace(request, keywords=tree, prompt=retrieved.prompt)
        (future,) = self._decoder.decode([keyworded])
        attempt = yield future
        tokenizer = self._prompts.tokenizer(chunk.language)
        is_kept = chunk.accept_keywords(attempt, tokenizer, tree.positions(attempt.tokens))
        written = _written(attempt.text, retrieved) if is_kept else set()
        self._note(retrieved.keywords, written)

    def _decode_guesses(self, chunk: DecodedChunk, request: DecodeRequest, short: Retrieved) -> Work:
        """Decode again with a short list; take the text if it has one more keyword, and is likely enough."""
        (future,) = self._decoder.decode([dataclasses.replace(request, keywords=short.tree)])
        attempt = yield future
        before, after = _written(_text(chunk), short), _written(attempt.text, short)
        if before < after:
            tokenizer = self._prompts.tokenizer(chunk.language)
            positions = short.tree.positions(attempt.tokens)
            if chunk.accept_keywords(attempt, tokenizer, positions, known=len(before)):
                self._note(after - before, after)

    def _note(self, tried: Iterable[str], accepted: set[str]) -> None:
        for keyword in tried:
            outcome = self.outcomes.setdefault(keyword, KeywordOutcome(keyword))
            if keyword in accepted:
                outcome.accepted += 1
            else:
                outcome.refused += 1


def _text(chunk: DecodedChunk) -> str:
    return "".join(word.text for word in chunk.words)


def _written(text: str, retrieved: Retrieved) -> set[str]:
    folded = text.casefold()
    return {keyword for keyword in retrieved.keywords if keyword.casefold() in folded}


def _has_guesses(chunk: DecodedChunk, short: Retrieved) -> bool:
    """Whether the model has guessed a word that is not part of a keyword."""
    parts = " ".join(short.keywords).casefold()
    return any(
        word.probability < _GUESSED_WORD and word.text.strip(" .,!?").casefold() not in parts
        for word in chunk.words
    )
