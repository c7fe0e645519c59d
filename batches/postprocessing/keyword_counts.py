"""Keyword counts: number of occurrences of each keyword in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LATIN = re.compile(r"[^\W\d_가-힣ぁ-ヿ一-鿿]")


def keyword_counts(text: str, keywords: Iterable[str]) -> dict[str, int]:
    """Count each keyword in the text, ignoring case; keywords that do not occur are left out.

    In scripts with spaces only whole words count, but for particles: "Ann" is not in "Annual", 갤럭시 is in
    갤럭시는.
    """
    folded = " ".join(text.casefold().split())
    found: dict[str, int] = {}
    for keyword in keywords:
        wanted = " ".join(keyword.casefold().split())
        if wanted and (count := _count(folded, wanted)):
            found[keyword] = count
    return found


def _count(text: str, wanted: str) -> int:
    count, at = 0, text.find(wanted)
    while at >= 0:
        end = at + len(wanted)
        within = (_LATIN.match(wanted[0]) and at and _LATIN.match(text[at - 1])) or (
            _LATIN.match(wanted[-1]) and end < len(text) and _LATIN.match(text[end])
        )
        count += not within
        at = text.find(wanted, end)
    return count
