"""Recognition options of the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from batches.recognition import languages
from batches.recognition.media.decoding import MAX_BYTES, MAX_DURATION_MS

MAX_SPEAKERS = 30


@dataclass(slots=True, kw_only=True)
class Options:
    """Recognition options of one file.

    ``language`` is one of :func:`batches.recognition.languages.codes`, case-insensitive.
    ``channels`` makes each channel of a multi-channel file a speaker; ``speakers`` turns on diarization for
    other files. ``all_tracks`` recognises every audio track with sound instead of the default one only.
    ``min_speakers`` and ``max_speakers`` are 1..30, or -1 if not set. Raises ValueError for invalid values.
    """

    language: str = languages.AUTO
    keywords: Sequence[str] = ()
    keyword_weight: float = 7.0  # logits; 0: keywords only in the prompt
    speakers: bool = False
    channels: bool = False
    all_tracks: bool = True
    min_speakers: int = -1
    max_speakers: int = -1
    whisper_model: str = ""  # name or path; empty for the engine's default
    speaker_model: str = ""
    max_duration_ms: int = MAX_DURATION_MS
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        languages.candidates(self.language)
        for count in (self.min_speakers, self.max_speakers):
            if count != -1 and not 1 <= count <= MAX_SPEAKERS:
                raise ValueError(f"A number of speakers is 1 to {MAX_SPEAKERS}, or -1, not {count}.")
        if -1 < self.max_speakers < self.min_speakers:
            raise ValueError("The least number of speakers is above the largest.")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Self:
        return cls(**document)
