"""Which language a file is in: asked of several chunks all over the file, not of its first half minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ASKED_CHUNKS = 8  # at most that many, one decoder step each
SURE = 0.8  # a file is "in another language" only if that language is at least that probable ...
UNLIKELY = 0.05  # ... and the expected ones together at most this


@dataclass(frozen=True, slots=True)
class Detection:
    """Probabilities by Whisper's language code, over all asked chunks."""

    probabilities: dict[str, float]

    def best(self, among: Sequence[str] = ()) -> str:
        """The most probable language, of ``among`` if any are named."""
        codes = [code for code in among if code in self.probabilities] or list(self.probabilities)
        return max(codes, key=self.probabilities.__getitem__)

    def contradicts(self, expected: Sequence[str]) -> bool:
        """Whether the file is clearly in none of the expected languages."""
        share = sum(self.probabilities.get(code, 0.0) for code in expected)
        return bool(expected) and self.probabilities[self.best()] >= SURE and share <= UNLIKELY


def spread(lengths: Sequence[float], count: int = ASKED_CHUNKS) -> list[int]:
    """Indices of up to ``count`` chunks to ask: the longest one in each of as many parts of the file."""
    parts = min(count, len(lengths))
    bounds = [round(part * len(lengths) / parts) for part in range(parts + 1)] if parts else []
    return [max(range(a, b), key=lengths.__getitem__) for a, b in pairwise(bounds)]


def combine(answers: Sequence[dict[str, float]], lengths: Sequence[float]) -> Detection:
    """The mean of the chunks' answers, weighted by their seconds of speech."""
    total = sum(lengths)
    codes = answers[0]
    return Detection(
        {
            code: sum(answer[code] * length for answer, length in zip(answers, lengths, strict=True)) / total
            for code in codes
        }
    )
