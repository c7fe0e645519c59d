"""Context words: the nearest word to a number that indicates its kind, such as "card" or "주문"."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from batches.postprocessing.detection.vocabulary import CONTEXTS

_BEFORE, _AFTER = 90, 30  # characters within which a word is the context of a number

# The first alternative that matches determines the kind.
_WORD = re.compile(
    "|".join(f"(?P<{kind}>{'|'.join(words)})" for kind, words in CONTEXTS.items()), re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Contexts:
    """All context words of a text, searched once."""

    found: Sequence[tuple[int, int, str]]  # (start, end, kind), in order

    @classmethod
    def of(cls, text: str) -> Contexts:
        return cls([(each.start(), each.end(), str(each.lastgroup)) for each in _WORD.finditer(text)])

    def at(self, start: int, end: int) -> str:
        """Kind indicated by the nearest context word before the number, else by one soon after it."""
        index = bisect_right(self.found, start, key=lambda each: each[1])
        if index and self.found[index - 1][1] >= start - _BEFORE:
            return self.found[index - 1][2]
        for first, _last, kind in self.found[index : index + 2]:
            if end <= first <= end + _AFTER:
                return kind
        return ""
