"""Detection of Korean names of people: surnames and given syllables, by the words and particles around."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from batches.postprocessing.detection.name_words import (
    CLEAR_SURNAMES,
    COMPOUND_SURNAMES,
    ENDING_SYLLABLES,
    FAMILY,
    FIRST_SYLLABLES,
    FOREIGN_NAMES,
    GIVEN_NAME_STOPS,
    GIVEN_SYLLABLES,
    JOB_TITLES,
    KOREAN_SURNAMES,
    KOREAN_WORDS,
    LAST_SYLLABLES,
)

_WORD = re.compile("[가-힣]+")
_COPULA = re.compile(
    "(?:이?라고요?|이?라고|이?라는|이?라|입니다만|입니다|입니까|인데요?|이에요|이예요|예요|에요|이세요|세요|이십니다|십니다|이십니까"
    "|이신가요|신가요|이시[죠고]|시죠|이시네요|이요|요|이고요|고요|이고|이며|이죠|죠|이었어요|였어요|이었습니다|였습니다|이야|맞아요)"
)
_PARTICLE = re.compile(
    f"(?:{_COPULA.pattern}|은|는|이|가|을|를|의|에게|에게서|한테|한테서|께|께서|께서는|와|과|도|랑|이랑|하고|로|으로|이가|이는"
    "|이를|이도|이한테|이랑도|만|까지|부터|이나|고)"
)
_TITLE = re.compile(f"(씨|님|군|양|고객|환자|회원|어머니|아버지|{JOB_TITLES})(?:님)?")
_JOB = re.compile(f"({JOB_TITLES}|씨)(?:님)?")
_FAMILY = re.compile(FAMILY)
_CALLED_BY_NAME = re.compile("이(?:가|는|를|한테|도)")  # "수진이가"
_GAP = re.compile(r"\s{1,2}")
_INTRODUCED = re.compile(
    r"(?:성함|이름|존함|예금주|명의자|명의|수령인|수취인|계약자|담당자|담당|상담원|상담사|예약자|가입자|신청자|고객명|환자"
    r"|보호자|대표자|대표|기사|매니저|팀장|아들|딸|남편|아내|와이프|동생|언니|누나|오빠|친구|엄마|아빠|어머니|아버지"
    r"|할머니|할아버지|분)(?:[은는이가의도]|께서|이름은|님)?[\s,:]{1,2}$"
)
_CALLED = re.compile(r"(?:성함|이름|존함|예금주|수령인|계약자|예약자|분)[은이]?[\s,:]{1,2}$")
_SELF = re.compile(r"(?:저는|제가|저|나는|내가|안녕하세요|네|여보세요)[\s,.]{1,2}$")
_QUESTION = re.compile(
    r"\bname\n$|(?:성함|이름|존함)[^\n]{0,30}(?:요|까|죠)?[?.\s]{0,3}\n\s?(?:네[\s,.]{1,2})?$"
)
_REACH = 60
_DIGITS = frozenset("공영일이삼사오육칠팔구")


@dataclass(slots=True)
class _Names:
    """Reader of a text, word by word. ``known``: full names that were introduced earlier in the text."""

    text: str
    words: list[re.Match[str]]
    known: set[str] = field(default_factory=set)
    end: int = 0  # of the last name

    def spans(self) -> Iterator[tuple[int, int]]:
        for at, word in enumerate(self.words):
            if word.start() >= self.end and (span := self._name(at) or self._foreign(at)):
                self.end = span[1]
                yield span

    def _name(self, at: int) -> tuple[int, int] | None:
        word = self.words[at]
        if word[0][0] not in KOREAN_SURNAMES and word[0][0] not in GIVEN_SYLLABLES:
            return None
        if found := self._job(at) or self._spaced(at):
            return found
        before = self.text[max(0, word.start() - _REACH) : word.start()]
        for length in _lengths(word[0]):
            name, tail = word[0][:length], word[0][length:]
            if name in KOREAN_WORDS or word[0] in KOREAN_WORDS or set(name) <= _DIGITS:
                continue
            if self._fits(at, name, tail, before):
                if len(name) > 2:
                    self.known.add(name)
                return word.start(), word.start() + length
        return self._given(at)

    def _following(self, at: int) -> str:
        """Next word, if only a space or the end of a segment is before it."""
        if at + 1 >= len(self.words):
            return ""
        between = self.text[self.words[at].end() : self.words[at + 1].start()]
        return self.words[at + 1][0] if _GAP.fullmatch(between) else ""

    def _fits(self, at: int, name: str, tail: str, before: str) -> bool:
        title = _TITLE.match(tail) if tail else _TITLE.match(self._following(at))
        particle = not tail or _PARTICLE.fullmatch(tail) is not None
        copula = bool(tail) and _COPULA.fullmatch(tail) is not None
        if len(name) > 2:
            if title and (title[1] in {"씨", "님", "고객"} or particle or tail):
                return True
            if particle and (name in self.known or _INTRODUCED.search(before) or _QUESTION.search(before)):
                return True
            listed = self.end and self.text[self.end : self.words[at].start()] == " " and not tail
            if listed and _is_frequent(name):
                return True
            return (copula and _SELF.search(before) is not None) or (
                bool(tail) and particle and _is_frequent(name)
            )
        if title and title[1] in {"씨", "님"}:
            return True
        if copula and (_CALLED.search(before) or _QUESTION.search(before)):
            return True
        return tail.startswith(("이라고", "라고")) and copula

    def _job(self, at: int) -> tuple[int, int] | None:
        """Surname with a job title: "김 과장님"."""
        word = self.words[at]
        title = _JOB.match(self._following(at)) if len(word[0]) == 1 else None
        polite = (
            title is not None
            and title[0].endswith("님")
            and title[1] not in {"기사", "상담원", "상담사", "선생"}
        )
        if word[0][0] not in CLEAR_SURNAMES and not (polite and word[0] in "이신유안민남"):
            return None
        if title:
            following = self.words[at + 1]
            return word.start(), following.start() + title.end(1)
        title = _JOB.match(word[0], 1)
        if title and (title[0].endswith("님") or (title[1] == "씨" and len(word[0]) < 4)):
            return word.start(), word.start() + title.end(1)
        return None

    def _foreign(self, at: int) -> tuple[int, int] | None:
        """Foreign name in Korean letters, with its surname before a title: "마이클 리 씨"."""
        word = self.words[at]
        name = next((name for name in _prefixes(word[0]) if name in FOREIGN_NAMES), "")
        tail = word[0][len(name) :]
        if not name or not (not tail or _PARTICLE.fullmatch(tail) or _TITLE.match(tail)):
            return None
        surname = "" if tail else self._following(at)
        is_surname = len(surname) in {1, 2, 3} and not _TITLE.match(surname)
        if is_surname and _TITLE.match(self._following(at + 1)):
            return word.start(), self.words[at + 1].end()
        return word.start(), word.start() + len(name)

    def _spaced(self, at: int) -> tuple[int, int] | None:
        """Name with a space after the surname, before a title or where it is introduced."""
        word, following = self.words[at], self._following(at)
        if len(word[0]) != 1 or word[0] not in KOREAN_SURNAMES or not following:
            return None
        given = following[:2]
        if len(given) < 2 or not set(given) <= GIVEN_SYLLABLES or given in KOREAN_WORDS:
            return None
        tail = following[2:]
        title = _TITLE.match(tail) if tail else _TITLE.match(self._following(at + 1))
        before = self.text[max(0, word.start() - _REACH) : word.start()]
        introduced = _CALLED.search(before) or _QUESTION.search(before)
        if title or (introduced and _PARTICLE.fullmatch(tail or "은")):
            return word.start(), self.words[at + 1].start() + 2
        return None

    def _given(self, at: int) -> tuple[int, int] | None:
        """Given name alone: "민지 씨", "수진이가", "민수야", "지은이 엄마", "이름은 다은이에요"."""
        word = self.words[at]
        given, tail = word[0][:2], word[0][2:]
        if len(given) < 2 or given in GIVEN_NAME_STOPS or given in KOREAN_WORDS or word[0] in KOREAN_WORDS:
            return None
        if given[0] not in FIRST_SYLLABLES[:72] or given[1] not in LAST_SYLLABLES[:46]:
            return None
        span = word.start(), word.start() + 2
        titled = tail or self._following(at)
        if titled == "씨" or (titled.startswith("씨") and _PARTICLE.fullmatch(titled[1:])):
            return span
        closed = _is_closed(given)
        if closed and _CALLED_BY_NAME.fullmatch(tail):
            return span[0], span[1] + 1
        if tail in {"", "이"} and closed >= (tail == "이") and _FAMILY.match(self._following(at)):
            return span[0], word.end()
        before = self.text[max(0, word.start() - _REACH) : word.start()]
        if tail == ("아" if closed else "야") and (not before or before[-1] == "\n"):
            return span
        called = _COPULA.fullmatch(tail) and (_CALLED.search(before) or _QUESTION.search(before))
        return span if called else None


def _is_closed(name: str) -> bool:
    """Whether the last syllable ends in a consonant."""
    return (ord(name[-1]) - 0xAC00) % 28 > 0


def _prefixes(word: str) -> Iterator[str]:
    for length in range(min(5, len(word)), 1, -1):
        yield word[:length]


def _lengths(word: str) -> Iterator[int]:
    """Possible lengths of a name at the start of a word, longest first."""
    compound = word[:2] in COMPOUND_SURNAMES
    first = 2 if compound else 1
    if not compound and word[0] not in KOREAN_SURNAMES:
        return
    for count in (2, 1):
        given = word[first : first + count]
        if len(given) == count and set(given) <= GIVEN_SYLLABLES:
            yield first + count


def _is_frequent(name: str) -> bool:
    """Whether a full name consists of a surname and syllables frequent at their places in given names."""
    first, last = name[-2], name[-1]
    frequent = first in FIRST_SYLLABLES[:72] and last in LAST_SYLLABLES[:46]
    return len(name) == 3 and frequent and first in ENDING_SYLLABLES.get(last, first)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of Korean names in order."""
    return _Names(text, [*_WORD.finditer(text)]).spans()
