"""Korean numbers as digits: 이만 오천 원, 이천이십육년, 두 시 삼십 분, 스무 살, 삼 점 일사.

Most numerals of one syllable are also other words (이 사람, 일 때문에, 사실), so a counter must follow, or
the number must be long. Ambiguous words are not changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from batches.postprocessing.digits.found import Found
from batches.postprocessing.digits.korean_words import (
    APPROXIMATE,
    ARTICLES,
    ATTRIBUTIVE,
    BARE_TAILS,
    COPULA_RESTS,
    DIGITS,
    JOINED_COUNTERS,
    MONTHS,
    MYRIADS,
    NATIVE_COUNTERS,
    NATIVE_TENS,
    NATIVE_UNITS,
    NOT_ALONE,
    NOT_JOINED,
    PLACES,
    SINO_COUNTERS,
    TAILS,
    written_counter,
)

_TOKEN = re.compile(r"[가-힣]+|[A-Za-z0-9]+|[^\s가-힣A-Za-z0-9]")
_SINO = re.compile(f"[{''.join([*DIGITS, *PLACES, *MYRIADS])}]+")
_NATIVE = re.compile(f"({'|'.join(NATIVE_TENS)})?({'|'.join(NATIVE_UNITS)})?")
_LEAST_GROUPED = 10**8  # from here on a number is written with 억 and 조
_LEAST_ROUND = 10**6  # and a multiple of 10,000 with 만
_MOST_TOKENS = 8  # of one number
_DURATIONS = ("전", "후", "동안", "간", "뒤", "째", "차")  # make 이 년 two years, 십 일 ten days
_FULL_HOUSE = re.compile(r"\s*(?:버스|지하철|전철|열차|관중|사례)")
_CARRIED = re.compile(r"\s*(?:상품|금|액|된|되|시키|할|한|하)")
_FRACTION = re.compile(rf"({_SINO.pattern})\s*분의\s*({_SINO.pattern})")
_DECIMAL = re.compile(rf"({_SINO.pattern})\s*점\s*([영공일이삼사오육륙칠팔구]+)")
_FULLY = re.compile(r"\s*(?:이해|활용|발휘|공감|감안)")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int

    @property
    def is_hangul(self) -> bool:
        return "가" <= self.text[0] <= "힣"


@dataclass(frozen=True, slots=True)
class _Number:
    """Number with its counter. ``end`` is the end of the counter, or of a number without one."""

    last: int  # index of the token in which it ends
    end: int
    numeral: str  # without spaces
    value: int
    counter: str = ""
    tail: str = ""
    is_joined: bool = True  # whether the counter follows the number without a space


def find(text: str) -> Iterator[Found]:
    """The numbers of a text that can be written as digits, in order."""
    reader = _Reader(text)
    at = 0
    while at < len(reader.tokens):
        found = reader.at(at)
        if found is None:
            at += 1
            continue
        last, each = found
        yield each
        at = last + 1


def value_of(numeral: str) -> int | None:
    """Value of a Sino-Korean numeral such as 삼천오백만; None for any other word."""
    if numeral in {"영", "공"}:
        return 0
    total, group, digit = 0, 0, 0
    place, myriad = 10**4, 10**16
    for letter in numeral:
        if letter in PLACES:
            if PLACES[letter] >= place:
                return None
            place = PLACES[letter]
            group, digit = group + (digit or 1) * place, 0
        elif letter in MYRIADS:
            if MYRIADS[letter] >= myriad:
                return None
            myriad = MYRIADS[letter]
            total += ((group + digit) or 1) * myriad
            group, digit, place = 0, 0, 10**4
        elif digit or not DIGITS[letter]:
            return None
        else:
            digit = DIGITS[letter]
    return total + group + digit


def native_value(word: str) -> int | None:
    """Value of a native Korean numeral such as 스물다섯; None for any other word."""
    match = _NATIVE.fullmatch(word)
    if not word or match is None or (match[1] == "스무" and match[2]):
        return None
    return NATIVE_TENS.get(match[1] or "", 0) + NATIVE_UNITS.get(match[2] or "", 0)


def written(value: int, *, grouped: bool = True) -> str:
    """Format a number: digits with commas, large ones with 만, 억 and 조, such as 123,400 and 1억 2,000만."""
    if not grouped:
        return str(value)
    is_round = value >= _LEAST_ROUND and value % MYRIADS["만"] == 0
    if value < _LEAST_GROUPED and not is_round:
        return f"{value:,}"
    parts = []
    for name, size in sorted(MYRIADS.items(), key=lambda each: -each[1]):
        count, value = divmod(value, size)
        if count:
            parts.append(f"{count:,}{name}")
    return " ".join([*parts, f"{value:,}"] if value else parts)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self.tokens = [_Token(each[0], each.start(), each.end()) for each in _TOKEN.finditer(text)]

    def at(self, at: int) -> tuple[int, Found] | None:
        """Number that starts at a token, and the index of the token in which it ends."""
        token = self.tokens[at]
        if not token.is_hangul or (at and self.tokens[at - 1].end == token.start):
            return None
        if self._before(at) in APPROXIMATE:
            return None
        for reading in (self._month, self._fraction, self._decimal, self._sino, self._native, self._code):
            if found := reading(at):
                return found
        return None

    def _before(self, at: int) -> str:
        return self.tokens[at - 1].text if at else ""

    def _month(self, at: int) -> tuple[int, Found] | None:
        """Months with irregular numerals: 유월 and 시월."""
        token = self.tokens[at]
        for name, month in MONTHS.items():
            if token.text.startswith(name) and _is_tail(token.text[len(name) :]):
                return at, Found(token.start, token.start + len(name), f"{month}월")
        return None

    def _fraction(self, at: int) -> tuple[int, Found] | None:
        """Fraction: 사분의 삼. Note that 이분의 is also "of this person"."""
        start = self.tokens[at].start
        match = _FRACTION.match(self._text, start)
        if match is None or match[1] == "이":
            return None
        end = match.end()
        last = next(k for k in range(at, len(self.tokens)) if self.tokens[k].end >= end)
        parts = [value_of(match[1]), value_of(match[2])]
        if None in parts or not _is_tail(self.tokens[last].text[end - self.tokens[last].start :]):
            return None
        return last, Found(start, end, f"{parts[0]}분의 {parts[1]}")

    def _decimal(self, at: int) -> tuple[int, Found] | None:
        """Decimal number: 영점오, 삼 점 일사, 이점오 퍼센트."""
        token = self.tokens[at]
        match = _DECIMAL.match(self._text, token.start)
        if match is None or (whole := value_of(match[1])) is None:
            return None
        start, end = match.span()
        last = next(k for k in range(at, len(self.tokens)) if self.tokens[k].end >= end)
        rest = self.tokens[last].text[end - self.tokens[last].start :]
        fraction = "".join(str(DIGITS[letter]) for letter in match[2])
        after, counter, tail = self._counter_after(last, rest)
        number = f"{whole:,}.{fraction}"
        if counter and _is_tail(tail):
            end = self.tokens[after].end - len(tail)
            return after, Found(start, end, number + written_counter(counter))
        sure = whole == 0 or len(fraction) > 1 or len(match[1]) > 1 or match[2] not in {"이", "일"}
        if sure and _is_tail(rest) and not (match[2][-1] == "이" and len(fraction) == 1):
            return last, Found(start, end, number)
        return None

    def _counter_after(self, at: int, rest: str) -> tuple[int, str, str]:
        """Counter of a number that is followed by ``rest``: (index of its token, counter, text after it)."""
        if rest:
            counter = next((each for each in SINO_COUNTERS if rest.startswith(each)), "")
            return at, counter, rest[len(counter) :]
        following = self.tokens[at + 1].text if at + 1 < len(self.tokens) else ""
        counter = next((each for each in SINO_COUNTERS if following.startswith(each)), "")
        return at + 1, counter, following[len(counter) :]

    def _sino(self, at: int) -> tuple[int, Found] | None:
        numbers = list(self._sino_numbers(at))
        if any(each.counter == "세" and each.numeral[0] == "만" and each.value > 10**4 for each in numbers):
            return None  # 만 십팔 세: of full eighteen years
        for number in numbers:
            if self._is_number(at, number):
                start = self.tokens[at].start
                as_year = number.counter.startswith("년") or number.counter in {"호", "번지", "호실", "동"}
                digits = written(number.value, grouped=not as_year)
                return number.last, Found(start, number.end, digits + written_counter(number.counter))
        return None

    def _sino_numbers(self, at: int) -> Iterator[_Number]:
        """Candidate numbers that start at a token: longest first, with a counter before without."""
        numeral = ""
        found: list[_Number] = []
        for last in range(at, min(len(self.tokens), at + _MOST_TOKENS)):
            token = self.tokens[last]
            if not token.is_hangul or (numeral and numeral[-1] in DIGITS):
                break
            run = _SINO.match(token.text)
            if run is None:
                break
            found = [*self._endings(last, numeral, run.end()), *found]
            numeral += token.text
            if run.end() < len(token.text) or value_of(numeral) is None:
                break
        yield from sorted(found, key=lambda each: not each.counter)

    def _endings(self, last: int, before: str, longest: int) -> Iterator[_Number]:
        """Candidates that end in a token, with the longest possible part of it in the numeral."""
        token = self.tokens[last]
        for length in range(longest, 0, -1):
            numeral, rest = before + token.text[:length], token.text[length:]
            value = value_of(numeral)
            if value is None:
                continue
            stop = token.start + length
            for counter in SINO_COUNTERS if rest else ():
                if rest.startswith(counter) and _is_tail(rest[len(counter) :]):
                    yield _Number(last, stop + len(counter), numeral, value, counter, rest[len(counter) :])
            if not rest and last + 1 < len(self.tokens) and self._text[stop:].startswith(" "):
                following = self.tokens[last + 1]
                for counter in SINO_COUNTERS:
                    tail = following.text[len(counter) :]
                    if following.text.startswith(counter) and _is_tail(tail):
                        end = following.start + len(counter)
                        yield _Number(last + 1, end, numeral, value, counter, tail, is_joined=False)
            if _is_tail(rest):
                yield _Number(last, stop, numeral, value, "", rest)

    def _is_number(self, at: int, number: _Number) -> bool:
        """Whether a candidate is a number rather than another word."""
        if not number.counter:
            return self._is_bare_number(number)
        if number.counter == "일":
            return self._is_day(at, number)
        if number.counter == "시" and not 13 <= number.value <= 24:  # other hours have native numerals
            return False
        if number.counter == "월":
            return 1 <= number.value <= 12 and not self._is_carried(number)
        after = self._text[number.end :]
        if number.numeral == "십" and number.counter == "분" and _FULLY.match(after):
            return False
        if number.numeral == "만" and number.counter == "원" and _FULL_HOUSE.match(after):
            return False
        if len(number.numeral) == 1:
            return self._is_short_number(at, number)
        return True

    def _is_short_number(self, at: int, number: _Number) -> bool:
        word, counter = number.numeral + number.counter, number.counter
        if counter == "분":
            after_hour = re.search(r"시\s*$", self._text[: self.tokens[at].start]) is not None
            if number.numeral == "이":
                return after_hour
        if number.is_joined:
            if number.numeral in {"이", "일"} and counter in {"년", "주", "주일"}:
                lasting = self._lasts(number)
                return lasting or (number.numeral == "일" and counter != "주")
            return word not in NOT_JOINED
        if number.numeral in MYRIADS or number.numeral in PLACES:
            return number.numeral != "조" and (number.numeral != "억" or counter in {"원", "달러", "명"})
        if number.numeral in {"이", "영", "공"} or (number.numeral == "일" and counter in {"위", "대", "시"}):
            return False
        return counter not in {"대", "시", "과", "기", "인", "차", "장", "동"} or number.numeral in "삼칠팔"

    def _lasts(self, number: _Number) -> bool:
        """Whether the following word makes the number a duration: 이 년 전, 이주 동안."""
        return f"{number.tail}{self._text[number.end + len(number.tail) :].lstrip()}".startswith(_DURATIONS)

    def _is_day(self, at: int, number: _Number) -> bool:
        """Whether 일 is a day: after a month, in a duration, or as the start or end of a period."""
        before = self._text[: self.tokens[at].start].rstrip()
        if before.endswith("월"):
            return number.value <= 31
        if len(number.numeral) == 1 and number.numeral not in PLACES:
            return self._lasts(number) and number.numeral in "삼사칠팔육"
        return number.tail.startswith(("까지", "부터", "에", *_DURATIONS)) or self._lasts(number)

    def _is_carried(self, number: _Number) -> bool:
        """Whether 이월 means "carried forward" instead of February."""
        return number.numeral == "이" and (
            _CARRIED.match(self._text, number.end) is not None or not number.is_joined
        )

    def _is_bare_number(self, number: _Number) -> bool:
        """Whether a numeral is long enough to be a number without a counter."""
        numeral = number.numeral
        if numeral in NOT_ALONE or number.value < 11 or not (number.tail in BARE_TAILS or not number.tail):
            return False
        places = sum(letter in PLACES or letter in MYRIADS for letter in numeral)
        if numeral[-1] == "이" and numeral[-2] in {"백", "천", "만", "억"}:
            return False  # 오백이 넘는: five hundred, not 502
        if places >= 2 or (places == 1 and len(numeral) >= 3):
            return True
        return len(numeral) == 2 and numeral[0] in DIGITS and numeral[1] in {"십", "백"}

    def _native(self, at: int) -> tuple[int, Found] | None:
        """Number with native numerals: 두 시, 스무 살, 다섯명, 스물다섯."""
        token = self.tokens[at]
        if native_value(self._before(at)) and self._before(at) not in {"서른", "열", "스물"}:
            return None  # 두 세 개: two or three
        for length in range(len(token.text), 0, -1):
            numeral, rest = token.text[:length], token.text[length:]
            value = native_value(numeral)
            if value is None:
                continue
            stands_before = any(numeral.endswith(each) for each in ATTRIBUTIVE) or numeral in ATTRIBUTIVE
            if rest:
                found = self._native_joined(at, numeral, rest, value) if stands_before else None
            else:
                found = self._native_apart(at, numeral, value) if stands_before else None
            if found:
                return found
            if value > 10 and numeral not in NATIVE_TENS and _is_tail(rest):
                return at, Found(token.start, token.start + length, str(value))
        return None

    def _native_joined(self, at: int, numeral: str, rest: str, value: int) -> tuple[int, Found] | None:
        token = self.tokens[at]
        for counter in NATIVE_COUNTERS:
            known = len(numeral) > 1 or counter in JOINED_COUNTERS
            if rest.startswith(counter) and known and _is_tail(rest[len(counter) :]):
                if numeral == "한" and (counter in ARTICLES or counter == "시"):
                    return None
                end = token.start + len(numeral) + len(counter)
                return at, Found(token.start, end, f"{value}{counter}")
        return None

    def _native_apart(self, at: int, numeral: str, value: int) -> tuple[int, Found] | None:
        token = self.tokens[at]
        if at + 1 >= len(self.tokens) or not self._text[token.end :].startswith(" "):
            return None
        following = self.tokens[at + 1]
        for counter in NATIVE_COUNTERS:
            tail = following.text[len(counter) :]
            if following.text.startswith(counter) and _is_tail(tail):
                if numeral == "한" and (counter in ARTICLES or (counter == "시" and tail == "도")):
                    return None
                return at + 1, Found(token.start, following.start + len(counter), f"{value}{counter}")
        return None

    def _code(self, at: int) -> tuple[int, Found] | None:
        """Code of digits in one word: at least three beginning with zero, or any four: 공일공, 일이삼사."""
        token = self.tokens[at]
        run = re.match("[영공일이삼사오육륙칠팔구]{3,}", token.text)
        if run is None:
            return None
        length, rest = run.end(), token.text[run.end() :]
        if run[0][-1] == "이" and rest in COPULA_RESTS and _ends_in_consonant(run[0][-2]):
            length, rest = length - 1, f"이{rest}"
        digits = "".join(str(DIGITS[letter]) for letter in run[0][:length])
        long_enough = len(digits) >= 4 or digits[0] == "0"
        if long_enough and (_is_tail(rest) or rest.startswith(("번", "호"))):
            return at, Found(token.start, token.start + length, digits)
        return None


def _is_tail(rest: str) -> bool:
    """Whether the rest after a number or counter is a particle or empty."""
    return not rest or rest in TAILS


def _ends_in_consonant(syllable: str) -> bool:
    return (ord(syllable) - ord("가")) % 28 != 0
