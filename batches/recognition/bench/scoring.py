"""How wrong a text and a set of turns are.

Words are compared after Whisper's own normalisation; Chinese, Japanese, Korean and their like by character.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from batches.recognition.transcript import SpeakerTurn

BY_CHARACTER = {"zh", "ja", "ko", "th", "yue", "lo", "my", "km"}


def units(text: str, language: str) -> list[str]:
    """What is counted: normalised words, or characters."""
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
    """(edits, units of the reference)"""
    expected = units(reference, language)
    return edits(expected, units(found, language)), len(expected)


def repeated_words(text: str) -> int:
    """Words that only say again what the words before them said: how far a text runs in loops."""
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
    rows = [
        line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("SPEAKER")
    ]
    return [
        SpeakerTurn(round(1000 * float(row[3])), round(1000 * (float(row[3]) + float(row[4]))), row[7])
        for row in rows
    ]


def diarization_errors(
    reference: list[SpeakerTurn], found: list[SpeakerTurn], seconds: float
) -> tuple[float, float]:
    """(seconds of speech that is missed, invented or given to the wrong one; seconds of speech).

    Without a collar, overlapping speech scored: pyannote.metrics' diarization error rate is the quotient.
    """
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    annotations = []
    for turns in (reference, found):
        annotation = Annotation()
        for number, turn in enumerate(turns):
            annotation[Segment(turn.start / 1000, turn.end / 1000), number] = turn.speaker
        annotations.append(annotation)
    metric = DiarizationErrorRate(collar=0.0, skip_overlap=False)
    details = metric(annotations[0], annotations[1], uem=Segment(0, seconds), detailed=True)
    wrong = details["missed detection"] + details["false alarm"] + details["confusion"]
    return float(wrong), float(details["total"])
