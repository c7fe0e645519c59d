"""Inverse text normalisation: writes number words, in Korean and English, as digits.

Works on the text of one segment; ambiguous words stay as they are ("one of them", 이 사람). Pure functions
that return offsets, so that timed words and redaction can follow each change.
"""

from __future__ import annotations

from collections.abc import Iterable

from batches.postprocessing.digits import digit_runs, english, korean
from batches.postprocessing.digits.found import Found

LANGUAGES = frozenset({"ko", "en"})  # Whisper's codes; "six" is a number word in French, "elf" in German


def find(text: str, language: str) -> list[Found]:
    """Non-overlapping numbers of a text that can be written as digits, in order."""
    if language not in LANGUAGES:
        return []
    found: list[Found] = []
    for finder in (digit_runs.find, korean.find, english.find):
        found += _apart(finder(text), found)
    return sorted(found, key=lambda each: each.start)


def _apart(new: Iterable[Found], old: list[Found]) -> list[Found]:
    return [each for each in new if all(each.end <= other.start or each.start >= other.end for other in old)]
