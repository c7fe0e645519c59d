"""`Context`: everything that a result contains about its task besides the transcript."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .characters import one_line

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Context:
    task_id: str = ""
    service: str = "speechportal"
    domain: str = ""  # the domain's code
    language: str = ""  # as requested: "ko-KR", "auto", ...; empty means as recognised
    diarization: bool = False
    min_speakers: int = -1  # -1: not set
    max_speakers: int = -1
    keywords: tuple[str, ...] = ()
    userdata: dict[str, Any] | None = None
    speaker_names: dict[str, str] = field(default_factory=dict)  # label -> name given by a member
    edited_texts: dict[int, str] = field(default_factory=dict)  # index of the segment -> corrected text
    word_confidence: bool = False  # whether JSON and TSV give the confidence of each word
    lines: dict[str, Any] = field(default_factory=dict)  # changes by members: see batches.formats.lines
    # Parameters of a CLOVA request.
    completion: str = "async"
    forbidden: str = ""  # all forbidden words, comma-separated
    forbidden_action: str = "mask"  # or "remove"
    asked_forbidden: str = ""  # those of the request
    word_alignment: bool = True
    full_text: bool = True
    version: str = ""  # of the engine; empty means the transcript's

    def speaker_name(self, label: str) -> str:
        """Name that a member gave to a speaker, or a letter (A, B, ... Z, AA, ...), on one line."""
        return one_line(self.speaker_names.get(label, "")) or default_speaker_name(label)

    def is_renamed(self, label: str) -> bool:
        return self.speaker_name(label) != default_speaker_name(label)

    def text_of(self, index: int, recognised: str) -> str:
        """Text of a segment as corrected, else as recognised, without outer spaces."""
        return self.edited_texts.get(index, recognised).strip()


def default_speaker_name(label: str) -> str:
    """Default name of a label: "1" is A, "26" Z, "27" AA; any other label is its own name."""
    if not (label.isascii() and label.isdigit() and 0 < len(label) < 7 and int(label) > 0):
        return one_line(label) or "?"
    number, letters = int(label), ""
    while number:
        number, digit = divmod(number - 1, len(_ALPHABET))
        letters = _ALPHABET[digit] + letters
    return letters
