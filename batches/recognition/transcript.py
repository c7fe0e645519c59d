"""What recognition hands on: words in segments, with times in whole milliseconds.

The same document is the checkpoint in the database, the input of every result format and what a
correction changes. It knows no format and no Django.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

SCHEMA_VERSION = 1


@dataclass(slots=True)
class Word:
    """One word. ``text`` keeps its leading space where the language writes one."""

    start: int  # ms from the start of the media
    end: int  # ms, >= start
    text: str
    probability: float = 1.0  # 0..1
    speaker: str = ""  # speaker label "1", "2", ...; empty where speakers were not asked for


@dataclass(slots=True)
class TextChange:
    """A stretch of a segment's text that post-processing wrote in place of what the machine heard."""

    kind: str  # "replacement", or the kind of what was redacted: "card", "phone", ...
    offset: int  # into the segment's text, outer spaces removed
    length: int  # characters
    start: int  # ms
    end: int  # ms
    heard: str = ""  # the machine's words; empty for what was redacted

    @property
    def is_redaction(self) -> bool:
        return self.kind != "replacement"


@dataclass(slots=True)
class Segment:
    """A stretch of speech by one speaker, with its words in order of time."""

    start: int  # ms
    end: int  # ms
    text: str
    words: list[Word] = field(default_factory=list)
    confidence: float = 1.0  # 0..1, mean probability of the words
    speaker: str = ""
    # Quality signals of the decoding, as openai-whisper defines them.
    mean_logprob: float = 0.0
    no_speech_probability: float = 0.0
    compression_ratio: float = 1.0
    flags: list[str] = field(default_factory=list)  # "repetition", "low_confidence", "no_speech"
    # Of post-processing: what it changed, and the machine's text where a replacement changed it.
    changes: list[TextChange] = field(default_factory=list)
    machine_text: str = ""


@dataclass(slots=True)
class SpeakerTurn:
    """A stretch of time in which a speaker is heard; turns of different speakers may overlap."""

    start: int  # ms
    end: int  # ms
    speaker: str


@dataclass(slots=True)
class Span:
    """A stretch of the media."""

    start: int  # ms
    end: int  # ms


@dataclass(slots=True)
class Transcript:
    language: str  # Whisper's code: "ko", "en", ...
    language_probability: float
    duration: int  # ms of media
    segments: list[Segment] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)  # labels in order of first appearance
    turns: list[SpeakerTurn] = field(default_factory=list)
    speech_duration: int = 0  # ms in which somebody speaks
    loudness: list[int] = field(default_factory=list)  # 0..100 at equal distances, for a waveform
    engine: dict[str, Any] = field(default_factory=dict)  # names and versions of models and options
    flags: list[str] = field(default_factory=list)  # "language_mismatch", "truncated", "no_speech", ...
    unrecognised: list[Span] = field(default_factory=list)  # somebody speaks there, and no words were found
    missing_duration: int = 0  # ms that could not be decoded; 0 where none is missing or it is not known
    version: int = SCHEMA_VERSION

    @property
    def text(self) -> str:
        return " ".join(text for segment in self.segments if (text := segment.text.strip()))

    @property
    def confidence(self) -> float:
        """Mean confidence of the segments, weighted by their length; 0 where there is no speech."""
        return self._mean([segment.confidence for segment in self.segments])

    @property
    def mean_logprob(self) -> float:
        """Mean log-probability of the text, weighted by the segments' length; 0 where there is no speech."""
        return self._mean([segment.mean_logprob for segment in self.segments])

    @property
    def no_speech_share(self) -> float:
        """The share of the media in which nobody speaks, 0..1."""
        return max(0.0, 1.0 - self.speech_duration / self.duration) if self.duration else 1.0

    @property
    def all_flags(self) -> list[str]:
        """The whole's flags, and then those that any segment has."""
        raised = (flag for segment in self.segments for flag in segment.flags)
        return list(dict.fromkeys([*self.flags, *raised]))

    def _mean(self, values: list[float]) -> float:
        """Of one value for each segment, weighted by the segments' length."""
        weights = [max(1, segment.end - segment.start) for segment in self.segments]
        pairs = zip(values, weights, strict=True)
        return sum(value * weight for value, weight in pairs) / sum(weights) if weights else 0.0

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote. Unknown keys, from a newer release, are an error."""
        if (version := document.get("version")) != SCHEMA_VERSION:
            raise ValueError(f"transcript schema {version!r} is not {SCHEMA_VERSION}")
        fields = dict(document)
        fields["segments"] = [
            Segment(
                **{
                    **segment,
                    "words": [Word(**word) for word in segment["words"]],
                    "changes": [TextChange(**change) for change in segment.get("changes", ())],
                }
            )
            for segment in document["segments"]
        ]
        fields["unrecognised"] = [Span(**span) for span in document.get("unrecognised", [])]
        fields["turns"] = [SpeakerTurn(**turn) for turn in document["turns"]]
        return cls(**fields)
