"""Keyword retrieval: finds the words of a text that may be misspelt keywords, by their sound.

Biasing with a thousand keywords at once makes each of them too weak, and all of them together too strong. So
a list is matched phonetically against the words of a first pass, and only the few matches are tried. Words
with a keyword's consonants match, and words of low confidence match approximately as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batches.recognition.contracts import TimedWord

LONG_LIST = 50  # keywords; shorter lists are boosted in the first pass
MOST_MATCHES = 8  # of a chunk
_LIKENESS = 0.75  # minimum likeness of words that the model is sure of
_UNSURE_LIKENESS = 0.6  # ... and of words that it is not sure of
_UNSURE = 0.75  # probability of a word below which it may be misspelt
_SURE = 0.9  # from here on only words with a keyword's consonants match
# Log-probability that a text may lose by a keyword: so much for each letter of its sound, and at most this in
# words of which the model is sure, and in others. In 60 English recordings 12 names were misspelt: they lost
# up to 1.3 a letter, and 6.1 in words of which the model was sure. Of 983 names that nobody said, the closest
# lost 1.5 a letter, or sounded less like the words; `Texan` lost 8.5 in the place of a sure *Texas*.
_LETTER_MARGIN = 1.5
_MOST_MARGIN, _MOST_UNSURE_MARGIN = 8.0, 12.0
_LIKENESS_MARGIN = 20.0  # more for each unit of likeness above 0.75, and less below
_SPLIT_COST = 0.5  # letters, for each word more than the keyword has
_MOST_WORDS = 4  # words that one keyword may have been recognised as
_SHORTEST = 3  # letters of a sound, and consonants to compare words by
_LONGEST_ENDING = 3  # Korean syllables after a keyword, such as particles
_SHARED_PAIRS = 0.3  # minimum share of common letter pairs for a closer comparison
# Spellings of one sound; Latin letters only.
_SOUNDS = (("ph", "f"), ("ck", "k"), ("qu", "kv"), ("sch", "sh"), ("x", "ks"), ("tz", "z"))
_ALIKE = str.maketrans("cqzyw", "kksiv")
_KINDS = ("aeiou", "bp", "dt", "gk", "fv", "mn", "lr")  # letters that are easily confused
_NEAR_COST = 0.5  # cost of substituting a letter of the same kind


def sound(text: str) -> str:
    """Phonetic key, similar for words that sound alike: Hangul as jamo, Latin letters folded."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in letters if letter.isalnum())
    for written, spoken in _SOUNDS:
        letters = letters.replace(written, spoken)
    return re.sub(r"(.)\1+", r"\1", letters.translate(_ALIKE))


@dataclass(frozen=True, slots=True)
class Match:
    """Words ``start`` to ``end`` of a text that sound like a keyword, but for ``ending``, which stays."""

    keyword: str
    start: int
    end: int
    likeness: float
    is_unsure: bool = False  # whether the model is not sure of the words
    ending: str = ""

    @property
    def margin(self) -> float:
        """Log-probability that the text may lose by the keyword."""
        most = _MOST_UNSURE_MARGIN if self.is_unsure else _MOST_MARGIN
        letters = _LETTER_MARGIN * len(sound(self.keyword))
        return min(most, letters + _LIKENESS_MARGIN * (self.likeness - _LIKENESS))

    def overlaps(self, other: Match) -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive words, without punctuation and ending; ``confidence`` is the least probability of one."""

    start: int
    end: int
    sound: str
    ending: str
    confidence: float

    @property
    def is_unsure(self) -> bool:
        return self.confidence < _UNSURE


class KeywordIndex:
    """Phonetic index of a list of keywords."""

    def __init__(self, keywords: Sequence[str]) -> None:
        spoken = {keyword: sound(keyword) for keyword in keywords}
        spoken = {keyword: letters for keyword, letters in spoken.items() if len(letters) >= _SHORTEST}
        self._keywords, self._sounds = list(spoken), list(spoken.values())
        self._folded = {keyword: _plain(keyword) for keyword in spoken}
        self._words = [len(re.findall(r"\w+", keyword)) for keyword in spoken]
        self._lengths = np.array([len(letters) for letters in self._sounds])
        self._pairs = np.array([len(_pairs(letters)) for letters in self._sounds])
        self._by_frame: dict[str, list[int]] = defaultdict(list)
        by_pair: dict[str, list[int]] = defaultdict(list)
        for index, letters in enumerate(self._sounds):
            self._by_frame[_frame(letters)].append(index)
            for pair in _pairs(letters):
                by_pair[pair].append(index)
        self._by_pair = {pair: np.array(found) for pair, found in by_pair.items()}

    def matches(self, words: Sequence[TimedWord]) -> list[Match]:
        """Words that sound like a keyword but are not written so, the most similar first."""
        if not self._keywords:
            return []
        pairs = [(run, index) for run in self._runs(words) for index in self._candidates(run)]
        likenesses = _likenesses([self._sounds[index] for _, index in pairs], [run.sound for run, _ in pairs])
        found = []
        for (run, index), whole in zip(pairs, likenesses, strict=True):
            more = max(0, run.end - run.start - self._words[index])
            likeness = whole - _SPLIT_COST * more / len(self._sounds[index])
            if likeness >= (_UNSURE_LIKENESS if run.is_unsure else _LIKENESS):
                found.append(
                    Match(self._keywords[index], run.start, run.end, likeness, run.is_unsure, run.ending)
                )
        best: list[Match] = []
        for match in sorted(found, key=lambda each: -each.likeness):
            if not any(match.keyword == other.keyword and match.overlaps(other) for other in best):
                best.append(match)
        return best[:MOST_MATCHES]

    def _runs(self, words: Sequence[TimedWord]) -> Iterator[_Run]:
        """One to four consecutive words, without those that are a keyword already."""
        plain = [_plain(word.text) for word in words]
        written = set(self._folded.values())
        spans = [
            (start, end)
            for start in range(len(words))
            for end in range(start + 1, min(len(words), start + _MOST_WORDS) + 1)
        ]
        right = [(start, end) for start, end in spans if "".join(plain[start:end]) in written]
        longest = 2 * int(self._lengths.max())
        for start, end in spans:
            if any(start < last and first < end for first, last in right):
                continue
            confidence = min(word.probability for word in words[start:end])
            for core, ending in _endings("".join(word.text for word in words[start:end])):
                letters = sound(core)
                if _SHORTEST <= len(letters) <= longest:
                    yield _Run(start, end, letters, ending, confidence)

    def _candidates(self, run: _Run) -> set[int]:
        """Keywords with the same consonants and, if the run is unsure, those with common letter pairs."""
        found = set(self._by_frame.get(_frame(run.sound), ()))
        if run.confidence < _SURE:
            shared = [self._by_pair[pair] for pair in _pairs(run.sound) if pair in self._by_pair]
            if shared:
                counts = np.bincount(np.concatenate(shared), minlength=len(self._keywords))
                near = counts >= _SHARED_PAIRS * self._pairs
                near &= np.abs(self._lengths - len(run.sound)) <= (1 - _UNSURE_LIKENESS) * self._lengths
                found.update(np.flatnonzero(near & (counts > 0)).tolist())
        return found


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _frame(spoken: str) -> str:
    """Consonants of a word with at least three, else the whole: vowels are misspelt most often."""
    consonants = re.sub("[aeiou]", "", spoken)
    return consonants if len(consonants) >= _SHORTEST else spoken


def _endings(run: str) -> Iterator[tuple[str, str]]:
    """A run as it is and, where it may have an ending of the language, without it: (rest, ending)."""
    bare = re.sub(r"[^\w]+$", "", run)
    yield bare, ""
    if possessive := re.search(r"['’]s$", bare):
        yield bare[: possessive.start()], possessive[0]
    if syllables := re.search(r"[가-힣]+$", bare):
        for length in range(1, min(_LONGEST_ENDING, len(syllables[0]) - 2) + 1):
            yield bare[:-length], bare[-length:]


def _pairs(letters: str) -> frozenset[str]:
    return frozenset(letters[at : at + 2] for at in range(len(letters) - 1))


def likeness(keyword: str, spoken: str) -> float:
    """Similarity of two phonetic keys: 1 minus the edit cost per letter of the keyword.

    Substitutions of easily confused letters cost half.
    """
    return _likenesses([keyword], [spoken])[0]


def _likenesses(keywords: Sequence[str], runs: Sequence[str]) -> list[float]:
    """Likeness of each keyword to the run at its place; the edit distances of all pairs at once."""
    if not keywords:
        return []
    alphabet = {letter: code for code, letter in enumerate(sorted(set("".join([*keywords, *runs]))), 1)}
    wanted, spoken = _codes(keywords, alphabet), _codes(runs, alphabet)
    costs = _costs(alphabet)
    columns = np.arange(spoken.shape[1] + 1)
    rows = np.broadcast_to(columns.astype(np.float64), (len(runs), len(columns))).copy()
    lengths = np.array([len(keyword) for keyword in keywords])
    last = np.array([len(run) for run in runs])
    distances = np.zeros(len(keywords))
    for place in range(wanted.shape[1]):
        entered = rows + 1
        swapped = rows[:, :-1] + costs[wanted[:, place, None], spoken]
        entered[:, 1:] = np.minimum(entered[:, 1:], swapped)
        rows = np.minimum.accumulate(entered - columns, axis=1) + columns
        done = lengths == place + 1
        distances[done] = rows[done, last[done]]
    likenesses: list[float] = (1.0 - distances / lengths).tolist()
    return likenesses


def _codes(texts: Sequence[str], alphabet: dict[str, int]) -> npt.NDArray[np.int64]:
    """(texts, longest) codes of their letters; 0 after the end."""
    codes = np.zeros((len(texts), max(map(len, texts), default=0)), dtype=np.int64)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = [alphabet[letter] for letter in text]
    return codes


def _costs(alphabet: dict[str, int]) -> npt.NDArray[np.float64]:
    """Cost of substituting one letter code for another."""
    costs = np.ones((len(alphabet) + 1, len(alphabet) + 1))
    for kind in _KINDS:
        codes = [alphabet[letter] for letter in kind if letter in alphabet]
        costs[np.ix_(codes, codes)] = _NEAR_COST
    np.fill_diagonal(costs, 0.0)
    return costs
