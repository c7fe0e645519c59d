"""Word error rate and diarization error rate.

Words are compared after Whisper's own normalisation; Chinese, Japanese, Korean and similar scripts by
character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from batches.recognition.transcript import SpeakerTurn

BY_CHARACTER = {"zh", "ja", "ko", "th", "yue", "lo", "my", "km"}


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Seconds of a recording by kind of error. Overlapping speech counts once for each speaker."""

    missed: float = 0.0  # speech that no turn covers
    false_alarm: float = 0.0  # turns without speech
    confusion: float = 0.0  # speech with the wrong speaker
    speech: float = 0.0  # of the reference

    def __add__(self, other: Self) -> DiarizationErrors:
        return DiarizationErrors(
            self.missed + other.missed,
            self.false_alarm + other.false_alarm,
            self.confusion + other.confusion,
            self.speech + other.speech,
        )

    @property
    def rate(self) -> float:
        """Diarization error rate (DER); 0 where there is no speech."""
        wrong = self.missed + self.false_alarm + self.confusion
        return wrong / self.speech if self.speech else 0.0


def units(text: str, language: str) -> list[str]:
    """Units of the error rate: normalised words, or characters."""
    from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

    if language == "en":
        return str(EnglishTextNormalizer()(text)).split()
    if language in BY_CHARACTER:
        return list("".join(str(BasicTextNormalizer()(text)).split()))
    return str(BasicTextNormalizer()(text)).split()


def edits(reference: Sequence[str], found: Sequence[str]) -> int:
    """The least number of insertions, deletions and substitutions from one to the other (Levenshtein)."""
    codes: dict[str, int] = {}
    a, b = ([codes.setdefault(unit, len(codes)) for unit in text] for text in (reference, found))
    columns = np.arange(len(b) + 1)
    right = np.array(b, dtype=np.int64)
    row = columns.copy()
    for index, unit in enumerate(a, start=1):
        entered = np.empty_like(row)
        entered[0] = index
        entered[1:] = np.minimum(row[1:] + 1, row[:-1] + (right != unit))
        # Insertions run along the row: a running minimum of what each column costs less its number.
        row = np.minimum.accumulate(entered - columns) + columns
    return int(row[-1])


def error_counts(reference: str, found: str, language: str) -> tuple[int, int]:
    """(edits, units of the reference) between a reference and a recognised text."""
    expected = units(reference, language)
    return edits(expected, units(found, language)), len(expected)


def repeated_words(text: str) -> int:
    """Words that are part of a loop: phrases of at most eight words, repeated at least three times."""
    words = text.casefold().split()
    repeats, index = 0, 1
    while index < len(words):
        for period in range(1, min(9, index + 1)):
            turns = 0
            phrase = words[index - period : index]
            while words[index + turns * period : index + (turns + 1) * period] == phrase:
                turns += 1
            if turns >= 3:
                repeats += turns * period
                index += turns * period
                break
        else:
            index += 1
    return repeats


def read_rttm(path: Path) -> list[SpeakerTurn]:
    """Speaker turns of an RTTM file, in the file's order. Raises OSError and ValueError."""
    rows = [
        line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("SPEAKER")
    ]
    return [
        SpeakerTurn(round(1000 * float(row[3])), round(1000 * (float(row[3]) + float(row[4]))), row[7])
        for row in rows
    ]


def diarization_errors(
    reference: list[SpeakerTurn], found: list[SpeakerTurn], seconds: float
) -> DiarizationErrors:
    """Errors of one recording by pyannote.metrics, without a collar and with overlapping speech."""
    from pyannote.core import Annotation, Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    annotations = []
    for turns in (reference, found):
        annotation = Annotation()
        for number, turn in enumerate(turns):
            annotation[Segment(turn.start / 1000, turn.end / 1000), number] = turn.speaker
        annotations.append(annotation)
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    whole = Timeline([Segment(0, seconds)])
    details = metric(annotations[0], annotations[1], uem=whole, detailed=True)
    return DiarizationErrors(
        missed=float(details["missed detection"]),
        false_alarm=float(details["false alarm"]),
        confusion=float(details["confusion"]),
        speech=float(details["total"]),
    )
