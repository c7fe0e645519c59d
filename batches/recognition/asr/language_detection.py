"""Language detection on several chunks throughout a file, instead of on its first half minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

ASKED_CHUNKS = 8  # maximum number of chunks, one decoder step each
SURE = 0.8  # a file is "in another language" only if that language is at least this probable ...
UNLIKELY = 0.05  # ... and the expected ones together are at most this probable


@dataclass(frozen=True, slots=True)
class Detection:
    """Detection result: probabilities by Whisper's language code, over all sampled chunks."""

    probabilities: dict[str, float]

    def best(self, among: Sequence[str] = ()) -> str:
        """Most probable language, of those in ``among`` unless it is empty."""
        codes = [code for code in among if code in self.probabilities] or list(self.probabilities)
        return max(codes, key=self.probabilities.__getitem__)

    def contradicts(self, expected: Sequence[str]) -> bool:
        """Whether the file is clearly not in any of the expected languages."""
        share = sum(self.probabilities.get(code, 0.0) for code in expected)
        return bool(expected) and self.probabilities[self.best()] >= SURE and share <= UNLIKELY


def spread(lengths: Sequence[float], count: int = ASKED_CHUNKS) -> list[int]:
    """Indices of up to ``count`` chunks to sample: the longest in each of ``count`` parts of the file."""
    parts = min(count, len(lengths))
    bounds = [round(part * len(lengths) / parts) for part in range(parts + 1)] if parts else []
    return [max(range(a, b), key=lengths.__getitem__) for a, b in pairwise(bounds)]


def combine(answers: Sequence[dict[str, float]], lengths: Sequence[float]) -> Detection:
    """Mean of the chunks' probabilities, weighted by their seconds of speech."""
    total = sum(lengths)
    codes = answers[0]
    return Detection(
        {
            code: sum(answer[code] * length for answer, length in zip(answers, lengths, strict=True)) / total
            for code in codes
        }
    )
