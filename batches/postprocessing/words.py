"""Carries changes of a segment's text over to its timed words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batches.postprocessing.revision import Change, Revision
from batches.recognition.transcript import Segment, Word


def joined(segment: Segment) -> str:
    return "".join(word.text for word in segment.words)


def revised(words: Sequence[Word], revision: Revision) -> list[Word]:
    """The words of a text (their texts joined are the revision's origin) as they read in the revised one."""
    result = [*words]
    for change in reversed(revision.changes):
        text = revision.text[change.start : change.end]
        first, last, before, after = _touched(result, change.origin_start, change.origin_end)
        if first > last:
            continue
        result[first : last + 1] = _merged(result[first : last + 1], before, text, after)
    return result


def _touched(words: Sequence[Word], start: int, end: int) -> tuple[int, int, str, str]:
    """First and last word that a stretch touches, and what of them stands before and after it."""
    first, last, before, after, at = len(words), -1, "", "", 0
    for index, word in enumerate(words):
        stop = at + len(word.text)
        if at < end and stop > start:
            if first > index:
                first, before = index, word.text[: max(0, start - at)]
            last, after = index, word.text[max(0, end - at) :]
        at = stop
    return first, last, before, after


def _merged(words: Sequence[Word], before: str, text: str, after: str) -> list[Word]:
    """The words that take the place of some: as many where the new text has as many, else one."""
    parts = text.split(" ")
    if len(parts) == len(words) and all(parts):
        texts = [f"{before}{parts[0]}", *(f" {part}" for part in parts[1:])]
        texts[-1] += after
        return [replace(word, text=new) for word, new in zip(words, texts, strict=True)]
    whole = f"{before}{text}{after}"
    if not whole.strip():
        return []
    probability = min(word.probability for word in words)
    return [replace(words[0], end=max(words[0].start, words[-1].end), text=whole, probability=probability)]


def time_of(change: Change, words: Sequence[Word], segment: Segment, length: int) -> tuple[int, int]:
    """When the original of a change is said, in ms: by its words, else by its share of the segment.

    ``length`` is that of the segment's original text.
    """
    first, last, _before, _after = _touched(words, change.origin_start, change.origin_end)
    if first <= last:
        return words[first].start, max(words[first].start, words[last].end)
    duration = max(0, segment.end - segment.start)
    share = max(1, length)
    return (
        segment.start + duration * change.origin_start // share,
        segment.start + duration * change.origin_end // share,
    )
