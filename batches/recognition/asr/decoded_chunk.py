"""`DecodedChunk`: a chunk during recognition, with its audio, the best attempt so far, and its quality."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from whisper.tokenizer import Tokenizer

from batches.recognition.alignment import coverage
from batches.recognition.alignment.word_times import align
from batches.recognition.asr import phantom_text, quality
from batches.recognition.asr.chunks import quietest
from batches.recognition.asr.decoding import Decoded
from batches.recognition.contracts import RecognisedChunk, SpeechChunk, TimedWord
from batches.recognition.media.decoding import Samples

_TWICE_COST = 0.25  # penalty in mean log-probability for a text with an immediate repetition
_LOST_COST = 0.1  # penalty for each second of speech without words
_DOUBTFUL_MIN_LOGPROB = -0.7  # of text where an earlier attempt found none: it may be noise
# Below this, if the model considers silence possible, its text is a hallucination from noise.
_GUESS_LOGPROB, _GUESS_NO_SPEECH = -1.5, 0.3
_KEYWORD_MARGIN = 9.0  # log-probability that a text may lose for each keyword in it
_SHORTEST_PART = 0.4  # s between two cuts
# Log-probability that a search must win in total: a text that is barely likelier is not more often right.
# Of 60 files in ten languages (1,502 units) 0.35 to 0.75 left 155 or 156 errors, no margin 159, and 1.0 161.
_SEARCH_MARGIN = 0.5


@dataclass(slots=True)
class DecodedChunk:
    """Chunk, or part of one that is decoded by itself. ``start`` is in seconds from the chunk's start.

    In an ``is_doubtful`` part, the text of the whole chunk has no words.
    """

    sound: SpeechChunk
    language: str = ""
    decoded: Decoded | None = None
    words: list[TimedWord] = field(default_factory=list)
    is_doubtful: bool = False
    start: float = 0.0
    parts: list[DecodedChunk] = field(default_factory=list)  # in order; they replace the chunk
    tail: DecodedChunk | None = None
    _logprob: float = 0.0  # mean of the best attempt, without boosted tokens
    _score: tuple[bool, float] | None = None

    @property
    def samples(self) -> Samples:
        return self.sound.samples

    @property
    def seconds(self) -> float:
        return self.sound.seconds

    @property
    def logprob(self) -> float:
        """Mean log-probability of the best attempt, excluding the tokens of keywords."""
        return self._logprob

    def part(
        self, start: float, end: float, language: str = "", *, is_doubtful: bool = False
    ) -> DecodedChunk:
        """Part of the chunk from ``start`` to ``end`` s."""
        return DecodedChunk(
            self.sound.cut(start, end), language or self.language, is_doubtful=is_doubtful, start=start
        )

    def consider(self, attempt: Decoded, tokenizer: Tokenizer, boosted: Collection[int] = ()) -> None:
        """Keep an attempt, with its words, if it is the best so far.

        ``boosted`` are indices of tokens that may be due to a keyword's bonus. They are excluded from the
        confidence of the text; otherwise every keyword would look like an error.
        """
        others = [logprob for index, logprob in enumerate(attempt.logprobs) if index not in boosted]
        logprob = sum(others) / len(others) if boosted and others else attempt.mean_logprob
        words = phantom_text.without_closing(align(attempt, tokenizer, self.seconds), self.sound.speech)
        score = self._score_of(attempt, logprob, words)
        if self._score is None or score > self._score:
            self.decoded, self._logprob, self._score = attempt, logprob, score
            self.words = [] if self.is_silence else words

    def consider_search(self, attempt: Decoded, tokenizer: Tokenizer) -> None:
        """Keep a search's attempt if it is better than the greedy text, and clearly likelier in total.

        A greedy text that failed the quality checks needs only to be worse. Digits do not replace number
        words: they are fewer tokens, and so likelier, whatever was said.
        """
        before = self.decoded
        if before is not None and not self.went_wrong:
            writes_digits = quality.has_digits(attempt.text) and not quality.has_digits(before.text)
            if writes_digits or _total(attempt) < _total(before) + _SEARCH_MARGIN:
                return
        self.consider(attempt, tokenizer)

    def take_spelling(self, attempt: Decoded, tokenizer: Tokenizer, positions: Collection[int]) -> None:
        """Replace the text by one with keywords at these token positions."""
        self._score = None
        self.consider(attempt, tokenizer, positions)

    def accept_keywords(
        self, attempt: Decoded, tokenizer: Tokenizer, positions: Collection[int], *, known: int = 0
    ) -> bool:
        """Accept an attempt with keywords at these token positions if it is acoustically likely enough.

        Its log-probability, without the keywords' bonus, may be lower by a margin for each of them that is
        new: the text has ``known`` already. Returns whether it was accepted.
        """
        before = self.decoded
        spelt = sum(position - 1 not in positions for position in positions) - known
        if before is None or spelt <= 0 or repeats(attempt):
            return False
        if _total(attempt) < _total(before) - _KEYWORD_MARGIN * spelt:
            return False
        self.take_spelling(attempt, tokenizer, positions)
        return True

    def _score_of(self, attempt: Decoded, logprob: float, words: Sequence[TimedWord]) -> tuple[bool, float]:
        """Sort key of an attempt: text without repetition first, then the more likely one."""
        cost = _LOST_COST * coverage.seconds(words, self.sound.speech) if attempt.text else 0.0
        if quality.says_twice(attempt.text):
            cost += _TWICE_COST
        return (not repeats(attempt), logprob - cost)

    @property
    def is_silence(self) -> bool:
        """Whether the chunk is silence: the model is confident of that, and not of its text."""
        decoded = self.decoded
        if decoded is None or not decoded.text:
            return True
        if phantom_text.is_phantom(
            decoded.text,
            mean_logprob=decoded.mean_logprob,
            no_speech_probability=decoded.no_speech_probability,
        ):
            return True
        if decoded.mean_logprob < _GUESS_LOGPROB and decoded.no_speech_probability > _GUESS_NO_SPEECH:
            return True
        least = _DOUBTFUL_MIN_LOGPROB if self.is_doubtful else quality.MIN_MEAN_LOGPROB
        nobody = self.is_doubtful or decoded.no_speech_probability > quality.MAX_NO_SPEECH
        return nobody and decoded.mean_logprob < least

    @property
    def went_wrong(self) -> bool:
        decoded = self.decoded
        if decoded is None or self.is_silence:
            return False
        unsure = self._logprob < quality.MIN_MEAN_LOGPROB
        return repeats(decoded) or unsure or quality.says_twice(decoded.text)

    @property
    def lost(self) -> list[coverage.Region]:
        """Regions of speech without words, in seconds of the chunk."""
        return coverage.uncovered(self.words, self.sound.speech)

    @property
    def lost_seconds(self) -> float:
        """Seconds of speech without words; the sum over the parts if there are any."""
        if self.parts:
            return sum(part.lost_seconds for part in self.parts)
        return coverage.seconds(self.words, self.sound.speech)

    def cut_tail(self) -> DecodedChunk | None:
        """Part with the speech after the last word, if long: Whisper may end its text before speech ends."""
        last = self.words[-1].end if self.words else 0.0
        if self.is_doubtful or not self.words or not self.lost or self.lost[-1][0] < last:
            return None
        self.tail = self.part(last, self.seconds, is_doubtful=True)
        return self.tail

    def cut_at_lost(self) -> list[DecodedChunk]:
        """Parts to decode instead of the chunk, split at the pauses in and beside speech without words.

        Without a pause it is split at its quietest point. Empty if the chunk cannot be split.
        """
        pauses = [
            (one[1] + two[0]) / 2 for one, two in zip(self.sound.speech, self.sound.speech[1:], strict=False)
        ]
        cuts: list[float] = []
        for start, end in self.lost:
            near = [pause for pause in pauses if start - 0.3 <= pause <= end + 0.3]
            near = near or [quietest(self.samples, start + 0.3 * (end - start), end)]
            cuts += near
        edges = [0.0]
        for cut in sorted(cuts):
            if edges[-1] + _SHORTEST_PART <= cut <= self.seconds - _SHORTEST_PART:
                edges.append(cut)
        if len(edges) == 1:
            return []
        ends = [*edges[1:], self.seconds]
        return [self.part(start, end) for start, end in zip(edges, ends, strict=True)]

    def take_parts(self, parts: list[DecodedChunk]) -> None:
        """Replace the chunk's text by that of its parts, unless they cover its speech less well."""
        sound = all(part.decoded is not None and not repeats(part.decoded) for part in parts)
        if (
            sound
            and sum(part.lost_seconds for part in parts) < self.lost_seconds - 0.5 * coverage.LEAST_SECONDS
        ):
            self.parts = parts

    def recognised(self) -> RecognisedChunk:
        """Result: the words of the chunk and its tail, or of its parts, with their quality signals."""
        pieces = [piece for part in self.parts or [self] for piece in (part, part.tail) if piece]
        found = [piece for piece in pieces if piece.words] or pieces[:1]
        decoded = [piece.decoded for piece in found if piece.decoded is not None]
        if not decoded:
            raise RuntimeError("the chunk has not been decoded")
        counts = [max(1, len(each.tokens)) for each in decoded]
        return RecognisedChunk(
            [word for part in self.parts or [self] for word in part.timed_words()],
            self.language,
            sum(each.mean_logprob * count for each, count in zip(decoded, counts, strict=True)) / sum(counts),
            decoded[0].no_speech_probability,
            max(each.compression_ratio for each in decoded),
            list(dict.fromkeys(flag for each in decoded for flag in quality_flags(each))),
        )

    def timed_words(self) -> list[TimedWord]:
        """Words including the tail's, with times relative to the parent chunk."""
        own = [*self.words, *(self.tail.timed_words() if self.tail else [])]
        return [
            TimedWord(word.text, word.start + self.start, word.end + self.start, word.probability)
            for word in own
        ]


def quality_flags(decoded: Decoded) -> list[str]:
    """Quality flags of a segment with this text."""
    signals = {
        "repetition": repeats(decoded),
        "low_confidence": decoded.mean_logprob < quality.MIN_MEAN_LOGPROB,
        "no_speech": decoded.no_speech_probability > quality.MAX_NO_SPEECH,
    }
    return [flag for flag, raised in signals.items() if raised]


def _total(decoded: Decoded) -> float:
    """Log-probability of the whole text and its end."""
    return decoded.mean_logprob * (len(decoded.tokens) + 1)


def repeats(decoded: Decoded) -> bool:
    return decoded.looped or decoded.compression_ratio > quality.MAX_COMPRESSION_RATIO
