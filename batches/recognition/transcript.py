"""`Transcript`: words in segments, with times in whole milliseconds.

The same document is the checkpoint in the database, the input of every result format and the base of
corrections. Independent of result formats and of Django.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

SCHEMA_VERSION = 1
# Kinds of text change other than redaction: a domain's replacement, a number written as digits.
REPLACEMENT, NUMBER = "replacement", "number"


def is_redaction(kind: str) -> bool:
    """Whether a change of this kind hides sensitive data."""
    return kind not in {REPLACEMENT, NUMBER}


@dataclass(slots=True)
class Word:
    """Word. ``text`` includes the leading space in languages that have spaces."""

    start: int  # ms from the start of the media
    end: int  # ms, >= start
    text: str
    probability: float = 1.0  # 0..1
    speaker: str = ""  # speaker label "1", "2", ...; empty without diarization


@dataclass(slots=True)
class TextChange:
    """Change by post-processing: span of a segment's text that replaced recognised text."""

    kind: str  # "replacement", "number", or the kind of what was redacted: "card", "phone", ...
    offset: int  # into the segment's text, outer spaces removed
    length: int  # characters
    start: int  # ms
    end: int  # ms
    heard: str = ""  # recognised text; empty for redactions

    @property
    def is_redaction(self) -> bool:
        return is_redaction(self.kind)


@dataclass(slots=True)
class Segment:
    """Segment: speech by one speaker, with its words in order of time."""

    start: int  # ms
    end: int  # ms
    text: str
    words: list[Word] = field(default_factory=list)
    confidence: float = 1.0  # 0..1, mean probability of the words
    speaker: str = ""
    # Quality signals of decoding, as defined by openai-whisper.
    mean_logprob: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 1.0
    flags: list[str] = field(default_factory=list)  # "repetition", "low_confidence", "no_speech"
    # From post-processing: its changes, and the recognised text if a replacement changed it.
    changes: list[TextChange] = field(default_factory=list)
    machine_text: str = ""

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        words = [Word(**word) for word in document["words"]]
        changes = [TextChange(**change) for change in document.get("changes", ())]
        return cls(**{**document, "words": words, "changes": changes})


# Called with the index of the first segment, the segments, and the file's language, which is empty if it is
# known only at the end. A second call with index 0 means that recognition was restarted.
OnSegments = Callable[[int, Sequence[Segment], str], None]


@dataclass(slots=True)
class SpeakerTurn:
    """Speaker turn: time span in which a speaker speaks; turns of different speakers may overlap."""

    start: int  # ms
    end: int  # ms
    speaker: str


@dataclass(slots=True)
class Span:
    """Time span of the media."""

    start: int  # ms
    end: int  # ms


@dataclass(slots=True)
class KeywordOutcome:
    """Retrieval statistics of one keyword of a long list: how often it was tried, accepted and rejected."""

    text: str
    accepted: int = 0  # times that the text contained it
    refused: int = 0  # times that it was acoustically too unlikely


@dataclass(slots=True)
class Transcript:
    language: str  # Whisper's code: "ko", "en", ...
    language_probability: float
    duration: int  # ms of media
    segments: list[Segment] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)  # labels in order of first appearance
    turns: list[SpeakerTurn] = field(default_factory=list)
    speech_duration: int = 0  # ms
    loudness: list[int] = field(default_factory=list)  # 0..100 at equal distances, for a waveform
    engine: dict[str, Any] = field(default_factory=dict)  # names and versions of models and options
    flags: list[str] = field(default_factory=list)  # "language_mismatch", "truncated", "no_speech", ...
    unrecognised: list[Span] = field(default_factory=list)  # speech without recognised words
    keywords: list[KeywordOutcome] = field(default_factory=list)
    missing_duration: int = 0  # ms that could not be decoded; 0 if none or unknown
    version: int = SCHEMA_VERSION

    @property
    def text(self) -> str:
        return " ".join(text for segment in self.segments if (text := segment.text.strip()))

    @property
    def confidence(self) -> float:
        """Mean confidence of the segments, weighted by their duration; 0 without speech."""
        return self._mean([segment.confidence for segment in self.segments])

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of the text, weighted by the segments' duration; 0 without speech."""
        return self._mean([segment.mean_logprob for segment in self.segments])

    @property
    def no_speech_share(self) -> float:
        """Share of the media without speech, 0..1."""
        return max(0.0, 1.0 - self.speech_duration / self.duration) if self.duration else 1.0

    @property
    def all_flags(self) -> list[str]:
        """Flags of the transcript, followed by those of any segment."""
        raised = (flag for segment in self.segments for flag in segment.flags)
        return list(dict.fromkeys([*self.flags, *raised]))

    def _mean(self, values: list[float]) -> float:
        """Mean of one value per segment, weighted by the segments' duration."""
        weights = [max(1, segment.end - segment.start) for segment in self.segments]
        pairs = zip(values, weights, strict=True)
        return sum(value * weight for value, weight in pairs) / sum(weights) if weights else 0.0

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Deserialise the output of :meth:`to_dict`. Unknown keys, from a newer release, are an error."""
        if (version := document.get("version")) != SCHEMA_VERSION:
            raise ValueError(f"transcript schema {version!r} is not {SCHEMA_VERSION}")
        fields = dict(document)
        fields["segments"] = [Segment.from_dict(segment) for segment in document["segments"]]
        fields["unrecognised"] = [Span(**span) for span in document.get("unrecognised", [])]
        fields["keywords"] = [KeywordOutcome(**outcome) for outcome in document.get("keywords", [])]
        fields["turns"] = [SpeakerTurn(**turn) for turn in document["turns"]]
        return cls(**fields)
