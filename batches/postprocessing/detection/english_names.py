"""Detection of English names of people: titles, introductions, roles, and US census lists of names.

Names in lower case are found only where they are introduced ("my name is david johnson").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from batches.postprocessing.detection import name_words
from batches.postprocessing.detection.name_words import (
    ABBREVIATED_TITLES,
    AMBIGUOUS,
    CHINESE_SURNAMES,
    NO_NAME,
    PARTICLES_OF_NAMES,
    PERSON_VERBS,
    PINYIN_SYLLABLE,
    ROLES,
    ROMAN_KOREAN_SURNAMES,
    ROMAN_KOREAN_SYLLABLE,
    THINGS,
    TITLES,
)

_WORD = re.compile(r"[A-Za-z]+(?:['’-][A-Za-z]+){0,3}")
_POSSESSIVE = re.compile(r"['’]s$")
_JOIN = re.compile(r"\s{1,3}")  # between two words of one name, also over the end of a segment
_AFTER_INITIAL = re.compile(r"\.?\s{1,2}")
_SPELT = re.compile(
    r"[\s,.:;]{1,3}(?:that's\s|that\sis\s|it's\s|spelled\s|spelt\s)?([A-Za-z](?:[\s,.-]{1,2}[A-Za-z]){2,14})"
    r"(?![A-Za-z'’])",
    re.IGNORECASE,
)
_ROMAN_KOREAN = re.compile(rf"{ROMAN_KOREAN_SYLLABLE}-?{ROMAN_KOREAN_SYLLABLE}")
_PINYIN = re.compile(f"(?:{PINYIN_SYLLABLE}){{1,2}}")
_COUPLE = re.compile(r"\b(?:Mr|Mrs|Ms|Dr)\.?\s(?:and|&)\s$", re.IGNORECASE)
# Words before a name. After the strong ones any capitalised word is one, after the others those of the lists.
_STRONG = re.compile(
    r"(?:\b(?:name|names|surname|holder)(?:\sis|'s|’s|\swas)|\bnamed|\bname\sof|\bbehalf\sof|\bcall\sme"
    r"|\battention|\bsincerely|\b(?:first|last|family|given|full|middle)\sname|\bsurname"
    r"|\bname(?:,?\splease)?[?.]?(?=\n))[\s,:]{1,2}$",
    re.IGNORECASE,
)
_MEDIUM = re.compile(
    r"\b(?:i'm|i’m|i\sam|this\sis|it's|it’s|it\sis|that's|that\sis|is\sthat|(?:speak|speaking|spoke|talk|talked|talking)"
    r"\s(?:to|with)|ask\sfor|under|hi|hello|hey|dear|thanks|thank\syou|bye|goodbye|signed\sby|booked\sby|with)"
    r"[\s,]{1,2}$",
    re.IGNORECASE,
)
# Words before two capitalised words of which the second is a surname, and before an ambiguous given name.
_WEAK = re.compile(
    r"\b(?:add|adding|contact|email|invite|by|with|for|to|from|and|or|give|gave|think|believe|ask|asked|tell|told|met|meet"
    r"|thank|saw)\s$",
    re.IGNORECASE,
)
_PERSONAL = re.compile(r"\b(?:ask|asked|tell|told|met|meet|thank|remind|call|called)\s$", re.IGNORECASE)
_AFTERWARDS = frozenset(("speaking", "calling", "here"))
_SENTENCE_WORDS = frozenset(("will", "may", "mark", "bill", "see", "grant", "sue", "hope", "art"))
_MODALS_AND_MONTHS = frozenset(("will", "may", "april", "june", "august"))
_SENTENCE_START = re.compile(r"(?:^|[.?!\n])\s{0,3}$")
_NO_PART = NO_NAME | TITLES
_REACH = 24  # characters before a name in which the words before it stand
_MOST_WORDS = 4


@dataclass(slots=True)
class _Names:
    """Reader of a text, word by word. ``known``: rare names that were introduced earlier in the text."""

    text: str
    words: list[re.Match[str]]
    known: set[str] = field(default_factory=set)

    def spans(self) -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(self.words):
            count = self._length(at)
            if not count:
                at += 1
                continue
            start, end = self._start(at), self._end(at + count - 1)
            if spelt := _SPELT.match(self.text, self.words[at + count - 1].end()):
                yield start, end
                start, end = spelt.start(1), spelt.end(1)
            yield start, end
            at += count
            while at < len(self.words) and self.words[at].start() < end:
                at += 1

    def _lower(self, at: int) -> str:
        return _POSSESSIVE.sub("", self.words[at][0].lower()) if at < len(self.words) else ""

    def _end(self, at: int) -> int:
        word = self.words[at]
        possessive = _POSSESSIVE.search(word[0])
        return word.start() + possessive.start() if possessive else word.end()

    def _start(self, at: int) -> int:
        """Start of a name, with an abbreviated title before it."""
        if not at or self._lower(at - 1) not in ABBREVIATED_TITLES or not self._joins(at - 1):
            return self.words[at].start()
        start = self.words[at - 1].start()
        couple = _COUPLE.search(self.text[max(0, start - 12) : start])
        return start - len(couple[0]) if couple else start

    def _joins(self, at: int) -> bool:
        """Whether the word after ``at`` may belong to the same name."""
        if at + 1 >= len(self.words) or _POSSESSIVE.search(self.words[at][0]):
            return False
        short = len(self.words[at][0]) == 1 or self._lower(at) in TITLES
        between = self.text[self.words[at].end() : self.words[at + 1].start()]
        return (_AFTER_INITIAL if short else _JOIN).fullmatch(between) is not None

    def _is_capital(self, at: int) -> bool:
        """Whether a word begins with a capital, and is no word that none begins a name with."""
        word = self.words[at][0]
        acronym = len(word) > 1 and word.isupper()
        return word[0].isupper() and not acronym and self._lower(at) not in _NO_PART

    def _run(self, at: int) -> int:
        """Number of capitalised words from ``at`` on that can be one name, with "van" and initials."""
        last = at
        while last - at + 1 < _MOST_WORDS and self._joins(last):
            following = last + 1
            if self._is_capital(following) and len(self.words[following][0]) > 1:
                last = following
            elif (
                (self._lower(following) in PARTICLES_OF_NAMES or len(self.words[following][0]) == 1)
                and self.words[following][0] not in {"I", "a", "i"}
                and self._joins(following)
                and following + 1 < len(self.words)
                and self._is_capital(following + 1)
            ):
                last = following + 1
            else:
                break
        return last - at + 1

    def _length(self, at: int) -> int:
        """Number of words of the name that begins at a word, or 0."""
        word = self.words[at]
        lower = self._lower(at)
        before = self.text[max(0, word.start() - _REACH) : word.start()]
        if not self._is_capital(at):
            if not word[0][0].isupper() or len(word[0]) < 2:
                return self._lower_case(at, before)
            if lower in ROMAN_KOREAN_SURNAMES and self._joins(at):
                return 2 if _ROMAN_KOREAN.fullmatch(self._lower(at + 1)) else 0
            return self._ambiguous(at, before) if lower in _MODALS_AND_MONTHS else 0
        titled = at and self._lower(at - 1) in TITLES and self._joins(at - 1)
        if titled or _STRONG.search(before) or self._has_role(at):
            return self._learn(at, self._run(at))
        return self._listed(at, lower, before)

    def _has_role(self, at: int) -> bool:
        if not at or self._lower(at - 1) not in ROLES:
            return False
        return self.text[self.words[at - 1].end() : self.words[at].start()] in {" ", ", ", "\n"}

    def _learn(self, at: int, count: int) -> int:
        for index in range(at, at + count):
            lower = self._lower(index)
            if len(lower) > 3 and lower not in AMBIGUOUS and self.words[index][0][0].isupper():
                self.known.add(lower)
        return count

    def _listed(self, at: int, lower: str, before: str) -> int:
        """Length of a name that is in the lists, follows an introduction, or was introduced before."""
        count = self._run(at)
        after = self._lower(at + count)
        if self._is_thing(at, count):
            return 0
        if after in _AFTERWARDS and self._joins(at + count - 1) and lower not in AMBIGUOUS:
            return self._learn(at, count)
        if lower in AMBIGUOUS:
            return self._ambiguous(at, before)
        if lower in name_words.given_names() or lower in self.known:
            return count
        if self._is_roman_korean(at, count, before) or self._is_chinese(at, count):
            return min(count, 2)
        if count > 1 and (after in PERSON_VERBS or _MEDIUM.search(before) or _WEAK.search(before)):
            return self._learn(at, count) if self._lower(at + count - 1) in name_words.surnames() else 0
        return 0

    def _is_thing(self, at: int, count: int) -> bool:
        last = at + count - 1
        following = last + 1 < len(self.words) and self._joins(last) and self.words[last + 1][0][0].isupper()
        return bool(following and self._lower(last + 1) in THINGS)

    def _ambiguous(self, at: int, before: str) -> int:
        """Length of a name whose given name is also a word: "Will Turner", "This is Will"."""
        lower = self._lower(at)
        if at + 1 < len(self.words) and self._joins(at) and self._is_capital(at + 1):
            after = self._lower(at + 1)
            starts = _SENTENCE_START.search(before)
            if (
                starts
                and lower in _SENTENCE_WORDS
                and after in name_words.given_names()
                and after not in AMBIGUOUS
            ):
                return 0  # "Will Sarah come": the name is the next word
            if after in name_words.surnames() and not self._is_thing(at, 2):
                return 1 + self._run(at + 1)
        introduced = _MEDIUM.search(before) or _PERSONAL.search(before)
        return 1 if introduced and lower in name_words.given_names() else 0

    def _is_roman_korean(self, at: int, count: int, before: str) -> bool:
        """Korean name in Latin letters: "Minsu Kim", "Park Jiwoo", "Soo-jin"."""
        first, second = self._lower(at), self._lower(at + 1) if count > 1 else ""
        if second in ROMAN_KOREAN_SURNAMES and _ROMAN_KOREAN.fullmatch(first):
            return True
        if first in ROMAN_KOREAN_SURNAMES and second:
            return _ROMAN_KOREAN.fullmatch(second) is not None
        return _ROMAN_KOREAN.fullmatch(first) is not None and bool(_MEDIUM.search(before))

    def _is_chinese(self, at: int, count: int) -> bool:
        """Chinese name in pinyin: "Zhang Wei"."""
        if count < 2 or self._lower(at) not in CHINESE_SURNAMES:
            return False
        return _PINYIN.fullmatch(self._lower(at + 1)) is not None

    def _lower_case(self, at: int, before: str) -> int:
        """Length of an introduced name in lower case, as recognisers without capitals write it."""
        lower = self._lower(at)
        if self.words[at][0] != lower or lower in NO_NAME or len(lower) < 3:
            return 0
        titled = at and self._lower(at - 1) in {"mr", "mrs", "ms"} and self._joins(at - 1)
        if titled and lower in name_words.surnames():
            return 1
        if lower not in name_words.given_names():
            return 0
        after = self._lower(at + 1)
        plain = lower in name_words.frequent_given_names() and self._is_without_capitals(at)
        if plain or _STRONG.search(before) or (_MEDIUM.search(before) and after in {*_AFTERWARDS, "from"}):
            known = after in name_words.surnames() and after not in NO_NAME and after not in AMBIGUOUS
            last = known and self._joins(at) and not (plain and len(after) < 4) and after not in PERSON_VERBS
            return 2 if last else 1
        return 0

    def _is_without_capitals(self, at: int) -> bool:
        """Whether the words around have no capitals, as in the text of a recogniser that writes none."""
        around = self.words[max(0, at - 6) : at + 7]
        return len(around) > 3 and not any(word[0] != "I" and word[0][0].isupper() for word in around)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of English names in order."""
    return _Names(text, [*_WORD.finditer(text)]).spans()
