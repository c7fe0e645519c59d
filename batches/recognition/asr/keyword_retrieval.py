"""Keyword retrieval: finds the keywords of a long list that a text may have misspelt.

Biasing with a thousand keywords at once makes each of them too weak, and all of them together too strong. So
a long list is matched phonetically against the words of a first pass, and only chunks with matches are
decoded again, with their few candidates. Words with a keyword's consonants match; near words of low
confidence, approximate phonetic matches count as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batches.recognition.contracts import TimedWord

LONG_LIST = 50  # keywords; shorter lists are boosted in the first pass
MOST_CANDIDATES = 12  # of a chunk
_MOST_WORDS = 4  # words that one keyword may have been recognised as
_FRAME = 3  # minimum number of consonants to compare words by
_UNSURE = 0.7  # probability of a word below which it may be misspelt
_LIKE = 0.75  # minimum similarity of a keyword near such words
_SHARED_PAIRS = 0.3  # minimum share of common letter pairs for a closer comparison
# Spellings of one sound; Latin letters only.
_SOUNDS = (("ph", "f"), ("ck", "k"), ("qu", "kv"), ("sch", "sh"), ("x", "ks"), ("tz", "z"))
_ALIKE = str.maketrans("cqzyw", "kksiv")
_KINDS = ("aeiou", "bp", "dt", "gk", "fv", "mn", "lr")  # letters that are easily confused
_NEAR_COST = 0.5  # cost of substituting a letter of the same group


def sound(text: str) -> str:
    """Phonetic key, similar for words that sound alike: Hangul as jamo, Latin letters folded."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in letters if letter.isalnum())
    for written, spoken in _SOUNDS:
        letters = letters.replace(written, spoken)
    return re.sub(r"(.)\1+", r"\1", letters.translate(_ALIKE))


@dataclass(frozen=True, slots=True)
class _Keyword:
    text: str
    sound: str
    pairs: frozenset[str]


class KeywordIndex:
    """Phonetic index of a list of keywords."""

    def __init__(self, keywords: Sequence[str]) -> None:
        self._keywords = [
            _Keyword(keyword, spoken, _pairs(spoken))
            for keyword in dict.fromkeys(keywords)
            if len(spoken := sound(keyword)) > 2
        ]
        self._by_frame: dict[str, list[_Keyword]] = {}
        for keyword in self._keywords:
            self._by_frame.setdefault(_frame(keyword.sound), []).append(keyword)

    def candidates(self, words: Sequence[TimedWord]) -> list[str]:
        """Keywords that sound like some of the words, best first, without those already in the text."""
        written = " ".join("".join(word.text for word in words).casefold().split())
        found: dict[str, float] = {}
        for spoken in map(sound, _runs(words)):
            for keyword in self._by_frame.get(_frame(spoken), ()):
                like = likeness(keyword.sound, spoken)
                if like >= _LIKE:
                    found[keyword.text] = like
        for part in _unsure_parts(words):
            for name, like in self._near(sound(part)):
                found[name] = max(like, found.get(name, 0.0))
        missing = [keyword for keyword in found if keyword.casefold() not in written]
        return sorted(missing, key=lambda keyword: -found[keyword])[:MOST_CANDIDATES]

    def _near(self, spoken: str) -> Iterator[tuple[str, float]]:
        pairs = _pairs(spoken)
        for keyword in self._keywords:
            if len(keyword.pairs & pairs) >= _SHARED_PAIRS * len(keyword.pairs):
                like = likeness(keyword.sound, spoken)
                if like >= _LIKE:
                    yield keyword.text, like


def _frame(spoken: str) -> str:
    """Consonants of a word with at least three, else empty: vowels are misspelt most often."""
    consonants = re.sub("[aeiou]", "", spoken)
    return consonants if len(consonants) >= _FRAME else spoken


def _runs(words: Sequence[TimedWord]) -> Iterator[str]:
    """Texts of one to four consecutive words."""
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + _MOST_WORDS) + 1):
            yield "".join(word.text for word in words[start:end])


def _unsure_parts(words: Sequence[TimedWord]) -> Iterator[str]:
    """Texts of consecutive words of low confidence, with the word before and after."""
    start = None
    for index, word in enumerate([*words, None]):
        unsure = word is not None and word.probability < _UNSURE
        if unsure and start is None:
            start = index
        elif not unsure and start is not None:
            yield "".join(each.text for each in words[max(0, start - 1) : index + 1])
            start = None


def _pairs(letters: str) -> frozenset[str]:
    return frozenset(letters[at : at + 2] for at in range(len(letters) - 1))


def likeness(keyword: str, text: str) -> float:
    """Similarity: 1 minus the edit cost per letter between a keyword and the most similar part of a text.

    Substitutions of easily confused letters cost half. The part is found by Sellers' algorithm (1980).
    """
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    columns = np.arange(len(codes) + 1)
    row = np.zeros(len(codes) + 1)  # a part may start anywhere
    for letter in keyword:
        entered = np.empty_like(row)
        entered[0] = row[0] + 1
        entered[1:] = np.minimum(row[1:] + 1, row[:-1] + _costs(letter, codes))
        row = np.minimum.accumulate(entered - columns) + columns
    return 1.0 - float(row.min()) / len(keyword)


def _costs(letter: str, codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """(letters,) cost of substituting each of these for ``letter``."""
    costs: npt.NDArray[np.float64] = (codes != ord(letter)).astype(np.float64)
    for kind in _KINDS:
        if letter in kind:
            near = np.isin(codes, [ord(other) for other in kind]) & (codes != ord(letter))
            costs[near] = _NEAR_COST
    return costs
