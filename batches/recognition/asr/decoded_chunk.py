"""A chunk on its way to words: its sound, the best attempt at its text so far, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from whisper.tokenizer import Tokenizer

from batches.recognition.alignment.word_times import TimedWord, align
from batches.recognition.asr import quality
from batches.recognition.asr.chunks import Chunk, Region
from batches.recognition.asr.decoding import Decoded
from batches.recognition.media.decoding import Samples
from batches.recognition.transcript import Segment, Word

_TWICE_COST = 0.25  # of mean log-probability, for a text that says something twice in a row
_TAIL_SECONDS = 3.0  # speech without words at the end of a chunk that is worth another look
_TAIL_MIN_LOGPROB = -0.7  # what is found there must be likelier than elsewhere: it may be noise


@dataclass(frozen=True, slots=True, eq=False)
class AudioTrack:
    """Sound at 16 kHz with the stretches in which somebody speaks: a whole file's, or one channel's."""

    samples: Samples
    speech: Sequence[Region]  # in order, and apart from each other
    speaker: str = ""  # the label of whoever has this channel


@dataclass(slots=True)
class DecodedChunk:
    """``track`` is what it is cut from, when its sound is needed: hours of speech are not held twice."""

    chunk: Chunk
    track: AudioTrack
    language: str = ""
    decoded: Decoded | None = None
    words: list[TimedWord] = field(default_factory=list)
    is_tail: bool = False

    @property
    def samples(self) -> Samples:
        return self.chunk.cut(self.track.samples)

    @property
    def seconds(self) -> float:
        return self.chunk.length

    def consider(self, attempt: Decoded) -> None:
        """Keep an attempt if it is the best so far."""
        if self.decoded is None or _worth(attempt) > _worth(self.decoded):
            self.decoded = attempt

    @property
    def is_silence(self) -> bool:
        """Clearly nobody speaks: the model says so, and does not believe its own text either."""
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
        unsure = decoded.mean_logprob < quality.MIN_MEAN_LOGPROB
        return _repeats(decoded) or unsure or quality.says_twice(decoded.text)

    def align(self, tokenizer: Tokenizer) -> None:
        """Find the times of the words; silence has none."""
        if self.decoded is not None and not self.is_silence:
            self.words = align(self.decoded, tokenizer, self.seconds)

    def tail(self) -> DecodedChunk | None:
        """What is left after the last word, if it is long."""
        last = self.words[-1].end if self.words else 0.0
        if self.is_tail or not self.words or self.seconds - last < _TAIL_SECONDS:
            return None
        return DecodedChunk(self.chunk.after(last), self.track, self.language, is_tail=True)

    def file_words(self) -> list[Word]:
        """The words with times in the file."""
        return [
            Word(
                round(self.chunk.to_file(word.start) * 1000),
                round(self.chunk.to_file(word.end) * 1000),
                word.text,
                round(word.probability, 4),
            )
            for word in self.words
        ]

    def note_quality(self, segment: Segment) -> None:
        """Write the signals of the decoding on a segment of this piece."""
        decoded = self.decoded
        if decoded is None:
            return
        segment.mean_logprob = round(decoded.mean_logprob, 4)
        segment.no_speech_probability = round(decoded.no_speech_probability, 4)
        segment.compression_ratio = round(decoded.compression_ratio, 3)
        signals = {
            "repetition": _repeats(decoded),
            "low_confidence": decoded.mean_logprob < quality.MIN_MEAN_LOGPROB,
            "no_speech": decoded.no_speech_probability > quality.MAX_NO_SPEECH,
        }
        segment.flags = [flag for flag, raised in signals.items() if raised]


def _repeats(decoded: Decoded) -> bool:
    return decoded.looped or decoded.compression_ratio > quality.MAX_COMPRESSION_RATIO


def _worth(decoded: Decoded) -> tuple[bool, float]:
    cost = _TWICE_COST if quality.says_twice(decoded.text) else 0.0
    return (not _repeats(decoded), decoded.mean_logprob - cost)
