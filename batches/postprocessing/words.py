"""Timed words: applies the changes of a segment's text to its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from batches.postprocessing.revision import Change, Revision
from batches.recognition.transcript import Segment, Word


def joined(segment: Segment) -> str:
    return "".join(word.text for word in segment.words)


def revised(words: Sequence[Word], revision: Revision) -> list[Word]:
    """Words of the revised text, with times. The joined texts of ``words`` are the revision's origin."""
    result = [*words]
    for change in reversed(revision.changes):
        start, end = _without_spaces(result, change.origin_start, change.origin_end)
        text = revision.text[change.start : change.end]
        first, last, before, after = _touched(result, start, end)
        merged = _merged(result[first : last + 1], before, text, after) if first <= last else []
        ahead, behind = start - change.origin_start, change.origin_end - end  # spaces at the span's ends
        if first <= last and not merged:  # Words that are gone have taken their own spaces with them.
            spare = len(before) + len(after)
            ahead, behind = max(0, ahead - spare), max(0, behind - max(0, spare - ahead))
        _cut(result, end, end + behind)
        if first <= last:
            result[first : last + 1] = merged
        _cut(result, start - ahead, start)
    return result


def _without_spaces(words: Sequence[Word], start: int, end: int) -> tuple[int, int]:
    """The span without the spaces at its ends, which belong to the words beside it."""
    inner = "".join(word.text for word in words)[start:end]
    if not inner.strip():
        return start, end
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _cut(words: list[Word], start: int, end: int) -> None:
    """Remove a span of spaces from the words' texts."""
    first, last, before, after = _touched(words, start, end)
    if start < end and first == last:
        words[first] = replace(words[first], text=before + after)


def _touched(words: Sequence[Word], start: int, end: int) -> tuple[int, int, str, str]:
    """First and last word that a span overlaps, and their text before and after it."""
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
    """Words that replace ``words``: as many as before if the new text has as many, else a single one."""
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
    """Time span of a change's original in ms: from its words, else from its share of the segment's text.

    ``length`` is that of the segment's original text.
    """
    start, end = _without_spaces(words, change.origin_start, change.origin_end)
    first, last, _before, _after = _touched(words, start, end)
    if first <= last:
        return words[first].start, max(words[first].start, words[last].end)
    duration = max(0, segment.end - segment.start)
    share = max(1, length)
    return (
        segment.start + duration * change.origin_start // share,
        segment.start + duration * change.origin_end // share,
    )
