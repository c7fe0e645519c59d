"""A chunk during recognition: its sound, the best attempt at its text so far, and its quality."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from whisper.tokenizer import Tokenizer

from batches.recognition.alignment.word_times import align
from batches.recognition.asr import quality
from batches.recognition.asr.decoding import Decoded
from batches.recognition.contracts import RecognisedChunk, SpeechChunk, TimedWord
from batches.recognition.media.decoding import SAMPLE_RATE, Samples

_TWICE_COST = 0.25  # of mean log-probability, for a text that says something twice in a row
_TAIL_SECONDS = 3.0  # speech without words at the end of a chunk from which it is decoded again
_TAIL_MIN_LOGPROB = -0.7  # text of a tail must be likelier than elsewhere: it may be noise


@dataclass(slots=True)
class DecodedChunk:
    """A chunk, or the tail of one: ``start`` is in seconds from the beginning of the chunk."""

    sound: SpeechChunk
    language: str = ""
    decoded: Decoded | None = None
    words: list[TimedWord] = field(default_factory=list)
    is_tail: bool = False
    start: float = 0.0
    attempts: int = 0
    tail: DecodedChunk | None = None
    _logprob: float = 0.0  # mean of the best attempt, without boosted tokens
    _score: tuple[bool, float] | None = None

    @property
    def samples(self) -> Samples:
        return self.sound.samples

    @property
    def seconds(self) -> float:
        return self.sound.seconds

    def consider(self, attempt: Decoded, boosted: Collection[int] = ()) -> None:
        """Keep an attempt if it is the best so far.

        ``boosted`` are indices of tokens that a keyword's bonus may have brought about. They do not count
        for how sure the text is, or every keyword would be taken for a fault.
        """
        others = [logprob for index, logprob in enumerate(attempt.logprobs) if index not in boosted]
        logprob = sum(others) / len(others) if boosted and others else attempt.mean_logprob
        score = _score(attempt, logprob)
        if self._score is None or score > self._score:
            self.decoded, self._logprob, self._score = attempt, logprob, score

    @property
    def is_silence(self) -> bool:
        """Whether nobody speaks: the model is sure of that, and unsure of its own text."""
        decoded = self.decoded
        if decoded is None or not decoded.text:
            return True
        least = _TAIL_MIN_LOGPROB if self.is_tail else quality.MIN_MEAN_LOGPROB
        nobody = self.is_tail or decoded.no_speech_probability > quality.MAX_NO_SPEECH
        return nobody and decoded.mean_logprob < least

    @property
    def went_wrong(self) -> bool:
        decoded = self.decoded
        if decoded is None or self.is_silence:
            return False
        unsure = self._logprob < quality.MIN_MEAN_LOGPROB
        return repeats(decoded) or unsure or quality.says_twice(decoded.text)

    def align(self, tokenizer: Tokenizer) -> None:
        """Compute the times of the words; silence has none."""
        if self.decoded is not None and not self.is_silence:
            self.words = align(self.decoded, tokenizer, self.seconds)

    def cut_tail(self) -> DecodedChunk | None:
        """The speech after the last word, if it is long: Whisper may end its text long before speech ends."""
        last = self.words[-1].end if self.words else 0.0
        if self.is_tail or not self.words or self.seconds - last < _TAIL_SECONDS:
            return None
        rest = SpeechChunk(self.samples[round(last * SAMPLE_RATE) :])
        self.tail = DecodedChunk(rest, self.language, is_tail=True, start=last)
        return self.tail

    def recognised(self) -> RecognisedChunk:
        """The words of the chunk and its tail, with the signals of their decoding."""
        decoded = self.decoded
        if decoded is None:
            raise RuntimeError("the chunk has not been decoded")
        found = RecognisedChunk(
            list(self.words),
            self.language,
            decoded.mean_logprob,
            decoded.no_speech_probability,
            decoded.compression_ratio,
            quality_flags(decoded),
        )
        if self.tail and self.tail.words and (more := self.tail.decoded):
            found.words += [
                TimedWord(
                    word.text, word.start + self.tail.start, word.end + self.tail.start, word.probability
                )
                for word in self.tail.words
            ]
            counts = len(decoded.tokens), len(more.tokens)
            found.mean_logprob = (decoded.mean_logprob * counts[0] + more.mean_logprob * counts[1]) / max(
                1, sum(counts)
            )
            found.compression_ratio = max(found.compression_ratio, more.compression_ratio)
            found.flags += [flag for flag in quality_flags(more) if flag not in found.flags]
        return found


def quality_flags(decoded: Decoded) -> list[str]:
    """The flags of a segment with this text."""
    signals = {
        "repetition": repeats(decoded),
        "low_confidence": decoded.mean_logprob < quality.MIN_MEAN_LOGPROB,
        "no_speech": decoded.no_speech_probability > quality.MAX_NO_SPEECH,
    }
    return [flag for flag, raised in signals.items() if raised]


def repeats(decoded: Decoded) -> bool:
    return decoded.looped or decoded.compression_ratio > quality.MAX_COMPRESSION_RATIO


def _score(decoded: Decoded, logprob: float) -> tuple[bool, float]:
    """Attempts are compared by this: text without repetition first, then the likelier one."""
    cost = _TWICE_COST if quality.says_twice(decoded.text) else 0.0
    return (not repeats(decoded), logprob - cost)
