"""Sentence segmentation: groups words into sentence-like segments, and computes their confidence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from batches.recognition.alignment.coverage import Region
from batches.recognition.asr.chunks import SPEECH_MARGIN
from batches.recognition.transcript import Segment, Word

MAX_SEGMENT_MS = 15_000
PAUSE_MS = 1_200  # a pause that ends a segment whatever the punctuation
_SENTENCE_END = (".", "?", "!", "。", "？", "！", "…", "۔", "।")
_CLAUSE_END = (",", ";", ":", "，", "、", "；", "：")
_SHORTEST_MS = 20  # of a word
_MARGIN_MS = round(SPEECH_MARGIN * 1000)
_FADING_MS = 400  # of speech after a word's end that still belong to it if no other word does


def fit_to_speech(words: Sequence[Word], speech: Sequence[Region], following: Word | None = None) -> None:
    """Clip word times to the speech regions, in place.

    Attention tends to extend a word over an adjacent pause, and to leave the last word before a pause too
    early. A word that overlaps speech is clipped to it, and the last one is extended to the end of speech;
    other words do not change. Times stay monotonic. ``following`` is the word after the last one.
    """
    stretches = [(round(start * 1000), round(end * 1000)) for start, end in speech]
    index = 0
    for word, after in zip_longest(words, words[1:]):
        after = after or following
        while index < len(stretches) and stretches[index][1] <= word.start:
            index += 1
        beyond = index
        while beyond < len(stretches) and stretches[beyond][0] < word.end:
            beyond += 1
        touching = stretches[index:beyond]
        if not touching:
            continue
        # Of several stretches that a word spans, it was said in the one it shares most time with.
        start, end = max(touching, key=lambda each: min(each[1], word.end) - max(each[0], word.start))
        word.start, word.end = max(word.start, start), min(word.end, end)
        silent_from = end - _MARGIN_MS
        if (after is None or after.start >= end) and 0 < silent_from - word.end <= _FADING_MS:
            word.end = silent_from


def make_monotonic(words: Sequence[Word], duration: int, earliest: int = 0) -> int:
    """Make word times monotonic, non-empty and within the file, in place.

    ``earliest`` is the end of the word before the first one, in ms. Returns the end of the last one.
    """
    for word in words:
        word.start = min(max(word.start, earliest), max(0, duration - _SHORTEST_MS))
        word.end = min(max(word.end, word.start + _SHORTEST_MS), max(duration, word.start))
        earliest = word.end
    return earliest


def split(words: Sequence[Word]) -> list[list[Word]]:
    """Group words into segments: sentences, split if longer than the longest segment."""
    groups: list[list[Word]] = []
    current: list[Word] = []
    for word in words:
        if current and word.start - current[-1].end >= PAUSE_MS:
            groups.append(current)
            current = []
        while current and word.end - current[0].start > MAX_SEGMENT_MS:
            cut = _best_cut(current)
            groups.append(current[:cut])
            current = current[cut:]
        current.append(word)
        if word.text.rstrip().endswith(_SENTENCE_END) and not _abbreviation(word.text):
            groups.append(current)
            current = []
    return [*groups, current] if current else groups


def _abbreviation(text: str) -> bool:
    """Whether a word is an abbreviation, such as Mr. or U.S.; an error only moves a segment boundary."""
    word = text.strip()
    return word.endswith(".") and (
        "." in word[:-1] or word.lower() in {"mr.", "mrs.", "ms.", "dr.", "st.", "no.", "vs.", "prof."}
    )


def _best_cut(words: list[Word]) -> int:
    """Index at which to split words that are too long for one segment: late, after a clause or a pause."""

    def worth(index: int) -> float:
        pause = words[index].start - words[index - 1].end
        clause = 300 if words[index - 1].text.rstrip().endswith(_CLAUSE_END) else 0
        return min(pause, 600) + clause + 400 * index / len(words)

    return max(range(1, len(words)), key=worth, default=1)


def text_of(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words).strip()


def confidence_of(words: Sequence[Word]) -> float:
    """Mean probability of the words, 0..1."""
    return round(sum(word.probability for word in words) / max(1, len(words)), 4)


def make_segment(words: list[Word], speaker: str = "") -> Segment:
    """A segment of words in order; its quality signals are the caller's to set."""
    for word in words:
        word.speaker = speaker
    return Segment(words[0].start, words[-1].end, text_of(words), words, confidence_of(words), speaker)
