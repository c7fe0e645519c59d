"""English number words as digits: cardinals, ordinals, decimals, money, percentages, times, years, codes.

Small numbers stay words, as English writes them, unless a unit or a word such as "page" shows a measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from batches.postprocessing.digits.digit_runs import is_counting
from batches.postprocessing.digits.english_words import (
    CODE_DIGITS,
    DIGITS,
    LABELS,
    MONTHS,
    ORDINALS,
    SCALES,
    TENS,
    TIME_WORDS,
    TIMES,
    UNITS,
    UNITS_OF_ONE,
    VALUES,
    YEAR_WORDS,
)
from batches.postprocessing.digits.found import Found

_TOKEN = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?|\d+|\S")
_LEAST_BARE = 10  # smaller numbers without a unit stay words
_LEAST_SCALE = 1_000_000  # from here on a round number is written "3 million"
_CODE = 3  # consecutive single digits that make a code
_HOURS = range(1, 13)
_MARKS = {"dollar": "$", "dollars": "$", "euro": "€", "euros": "€"}


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    word: str  # in lower case; of an hour's half "a.m." the letters
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Number:
    """Number from token ``first`` up to ``last`` (exclusive). ``written`` is the number in digits."""

    first: int
    last: int
    value: float
    written: str
    is_plain: bool = True  # a cardinal without a decimal point


def find(text: str) -> Iterator[Found]:
    """The numbers of a text that can be written as digits, in order."""
    return _Reader(text).read()


class _Reader:
    """Parser that reads a text token by token; methods take the index of a token."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [
            _Token(each[0], each[0].lower().replace("’", "'"), each.start(), each.end())
            for each in _TOKEN.finditer(text)
        ]

    def read(self) -> Iterator[Found]:
        at = 0
        while at < len(self._tokens):
            last, written = self._at(at)
            if written:
                first = self._tokens[at]
                yield Found(first.start, self._tokens[last - 1].end, written)
            at = max(at + 1, last)

    def _word(self, at: int) -> str:
        return self._tokens[at].word if 0 <= at < len(self._tokens) else ""

    def _is_number_word(self, at: int) -> bool:
        word = self._word(at)
        return word in VALUES or word in TENS or word in SCALES or word.isdigit()

    def _at(self, at: int) -> tuple[int, str]:
        """Number that starts at a token: the index after it, and its text in digits, empty for no change."""
        if self._is_name(at):
            return self._after_words(at), ""
        if self._word(at) == "minus":
            return self._below_zero(at)
        number = self._number(at)
        if number and (time := self._time(number)):
            return time
        if code := self._code(at):
            return code
        if number is None:
            return self._lone_ordinal(at)
        for reading in (self._year, self._ordinal, self._measured):
            if found := reading(number):
                return found
        if written := self._bare(number):
            return number.last, written
        return self._after_words(number.last), ""

    def _below_zero(self, at: int) -> tuple[int, str]:
        """Negative number: "minus five degrees", "minus two point five"."""
        number = self._number(at + 1)
        if number is None:
            return at + 1, ""
        is_measure = not number.is_plain or self._word(number.last) in {"degree", "degrees", "percent"}
        last, written = self._measured(number) or (number.last, number.written)
        return (last, f"-{written}") if is_measure else (at + 1, "")

    def _is_name(self, at: int) -> bool:
        """Whether a capital letter within a sentence indicates a name, such as "Twenty One Pilots"."""
        token = self._tokens[at]
        if not token.text[:1].isupper() or not at or not (self._is_number_word(at) or token.word in ORDINALS):
            return False
        before = self._tokens[at - 1].text
        return before not in {".", "?", "!", ":", '"', "“"} and not self._text.isupper()

    def _after_words(self, at: int) -> int:
        while self._is_number_word(at) or self._word(at) in ORDINALS:
            at += 1
        return at

    def _code(self, at: int) -> tuple[int, str] | None:
        """Code of consecutive single digits: "nine one one", "double oh seven"."""
        digits, last, times = "", at, 1
        while (word := self._word(last)) in CODE_DIGITS or word in TIMES:
            if last > at and self._gap(last).strip(" -"):
                break
            if word in TIMES:
                if self._word(last + 1) not in CODE_DIGITS:
                    break
                times = TIMES[word]
            else:
                digits, times = digits + CODE_DIGITS[word] * times, 1
            last += 1
        starts_with_oh = self._word(at) in {"oh", "o"}
        if len(digits) < _CODE + 2 * starts_with_oh or is_counting(digits):
            return None
        if self._is_number_word(last) or self._word(last) == "point":
            return last, ""
        return last, digits

    def _gap(self, at: int) -> str:
        """Text between a token and the one before."""
        return self._text[self._tokens[at - 1].end : self._tokens[at].start]

    def _number(self, at: int) -> _Number | None:
        """Cardinal or decimal number that starts at a token."""
        cardinal = self._cardinal(at)
        if cardinal is None:
            return None
        last, value = cardinal
        digits, end = "", last + 1
        if self._word(last) == "point":
            while self._word(end) in DIGITS and not self._gap(end).strip():
                digits += DIGITS[self._word(end)]
                end += 1
        if not digits:
            return _Number(at, last, value, _grouped(value))
        written = f"{value:,}.{digits}"
        if self._word(end) in SCALES and SCALES[self._word(end)] >= _LEAST_SCALE:
            return _Number(at, end + 1, float(value), f"{written} {self._word(end)}", is_plain=False)
        return _Number(at, end, float(value), written, is_plain=False)

    def _cardinal(self, at: int) -> tuple[int, int] | None:
        """Cardinal number that starts at a token: (index after it, value)."""
        start = at
        if self._word(at) in {"a", "an"} and self._word(at + 1) in SCALES:
            if not (self._is_number_word(at + 2) or self._is_and(at + 2) or self._word(at + 2) in UNITS):
                return None
            total, group, place, at = 0, SCALES[self._word(at + 1)], 100, at + 2
            if group > 100:  # "a thousand"
                total, group, place = group, 0, 1000
        else:
            total, group, place = 0, 0, 10**18
        end = start if at == start else at
        least = total or 10**18
        while at < len(self._tokens):
            at = at + 1 if self._is_joint(at, start) else at
            word = self._word(at)
            value = VALUES.get(word, TENS.get(word))
            if value is not None and (_fits(value, place) and (value or at == start)):
                group += value
                place = 10 if word in TENS else 1
                at += 1
            elif word == "hundred" and 0 < group < 20 and place <= 10**18 and group % 10:
                group, place = group * 100, 100
                at += 1
            elif word in SCALES and word != "hundred" and group and SCALES[word] < least:
                least = SCALES[word]
                total, group, place = total + group * least, 0, 1000
                at += 1
            else:
                break
            end = at
            if value == 0:
                break
        return (end, total + group) if end > start else None

    def _is_joint(self, at: int, start: int) -> bool:
        """Whether a token joins two parts of a number: a hyphen, or "and" after a hundred."""
        if at <= start:
            return False
        if self._word(at) == "-":
            before, after = self._word(at - 1), self._word(at + 1)
            return before in TENS and VALUES.get(after, 99) < 10  # "twenty-one"
        return self._word(at - 1) in SCALES and self._is_and(at)

    def _is_and(self, at: int) -> bool:
        following = self._word(at + 1)
        return self._word(at) == "and" and (following in VALUES or following in TENS)

    def _time(self, number: _Number) -> tuple[int, str] | None:
        """Time of day: "seven thirty a.m.", "at ten fifteen", "five pm"."""
        if not number.is_plain or number.value not in _HOURS:
            return None
        last = number.last
        minutes = self._minutes(last)
        if self._is_half_of_day(last):
            return last, number.written
        if minutes is None:
            return None
        end, written = minutes
        said = self._word(number.first - 1) in TIME_WORDS or self._is_half_of_day(end)
        if not said or self._is_number_word(end) or self._word(end) in UNITS:
            return None
        return end, f"{number.written}:{written}"

    def _minutes(self, at: int) -> tuple[int, str] | None:
        if self._word(at) in {"oh", "o"} and self._word(at + 1) in DIGITS:
            return at + 2, f"0{DIGITS[self._word(at + 1)]}"
        if at >= len(self._tokens) or self._gap(at).strip():
            return None
        found = self._cardinal(at)
        return (found[0], str(found[1])) if found and 10 <= found[1] < 60 else None

    def _is_half_of_day(self, at: int) -> bool:
        if self._word(at) in {"am", "pm"}:
            return self._tokens[at].text != "am" or self._word(at - 1) != "i"
        return [self._word(at + k) for k in range(3)] in (["a", ".", "m"], ["p", ".", "m"])

    def _year(self, number: _Number) -> tuple[int, str] | None:
        """Year: "nineteen ninety nine", "twenty oh five", "in two thousand and eight"."""
        value, last = number.value, number.last
        if not number.is_plain:
            return None
        if 2000 <= value < 2100 and self._word(number.first) == "two":
            return (last, str(int(value))) if self._is_after_year_word(number.first) else None
        if value not in range(13, 21):
            return None
        if self._word(last - 1) in TENS and value != 20:
            return None
        rest = self._minutes(last)
        if rest is None and last < len(self._tokens) and not self._gap(last).strip():
            rest = self._two_digits(last)
        if rest is None or self._is_number_word(rest[0]) or self._word(rest[0]) in UNITS | _MARKS.keys():
            return None
        return rest[0], f"{int(value)}{rest[1]}"

    def _two_digits(self, at: int) -> tuple[int, str] | None:
        found = self._cardinal(at)
        return (found[0], str(found[1])) if found and 10 <= found[1] < 100 else None

    def _is_after_year_word(self, at: int) -> bool:
        before = self._word(at - 1)
        if before == ",":
            before = self._word(at - 2)
        return before in YEAR_WORDS or before in MONTHS or before in ORDINALS

    def _ordinal(self, number: _Number) -> tuple[int, str] | None:
        """Ordinal after a cardinal: "twenty first", "one hundred and fifth"."""
        at = number.last
        at += self._word(at) == "-" or (self._word(at) == "and" and self._word(at - 1) in SCALES)
        order = ORDINALS.get(self._word(at))
        if order is None or not number.is_plain:
            return None
        before = self._word(number.last - 1)
        if not ((before in TENS and order < 10) or (before in SCALES and order < 100)):
            return (at + 1, "") if order >= _LEAST_BARE else None  # "one tenth" is a fraction
        if order == 2 and self._word(number.first - 1) not in {"the", *MONTHS}:
            return None  # "a twenty second break"
        return at + 1, _ordinal(int(number.value) + order)

    def _lone_ordinal(self, at: int) -> tuple[int, str]:
        """One-word ordinal: "the fifteenth"; small ones only in dates: "May first", "the second of June"."""
        order = ORDINALS.get(self._word(at))
        if order is None:
            return at + 1, ""
        before = at - 1 - (self._word(at - 1) == "the")
        in_date = self._is_month(before) or (self._word(at + 1) == "of" and self._is_month(at + 2))
        is_part = self._word(at - 1) in {"a", "an", "per", "-"} or self._is_number_word(at - 1)
        if in_date or (order >= _LEAST_BARE and not is_part):
            return at + 1, _ordinal(order)
        return at + 1, ""

    def _is_month(self, at: int) -> bool:
        word = self._word(at)
        return word in MONTHS and (word not in {"may", "march"} or self._tokens[at].text[0].isupper())

    def _measured(self, number: _Number) -> tuple[int, str] | None:
        """Number with a unit: money, a percentage, minutes, kilometres."""
        last = number.last
        unit = self._word(last)
        if unit == "-":
            last, unit = last + 1, self._word(last + 1)
        written = number.written
        if unit in {"percent", "per"}:
            if unit == "percent" or self._word(last + 1) == "cent":
                return last + 1 + (unit == "per"), f"{written}%"
            return None
        if unit in _MARKS:
            return self._money(number, last + 1, _MARKS[unit])
        counts_one = number.value != 1 or not number.is_plain or unit in UNITS_OF_ONE
        if unit in UNITS and counts_one:
            return number.last, written
        if unit in {"or", "to"} and (second := self._number(last + 1)) and self._word(second.last) in UNITS:
            return number.last, written  # "two or three days"
        return None

    def _money(self, number: _Number, last: int, mark: str) -> tuple[int, str]:
        following = last + (self._word(last) == "and")
        cents = self._cardinal(following)
        if cents and number.is_plain and cents[1] < 100 and self._word(cents[0]) in {"cent", "cents"}:
            return cents[0] + 1, f"{mark}{number.written}.{cents[1]:02}"
        return last, f"{mark}{number.written}"

    def _bare(self, number: _Number) -> str:
        """Number without a unit; empty if it stays in words."""
        before, after = self._word(number.first - 1), self._word(number.last)
        if after == "-" or self._is_number_word(number.last) or self._is_number_word(number.first - 1):
            return ""
        if not number.is_plain or number.value >= _LEAST_BARE:
            return number.written
        return number.written if before in LABELS and number.value else ""


def _fits(value: int, place: int) -> bool:
    """Whether a word of this value may follow one that ended at this place (1, 10, 100 ...)."""
    if place == 10:
        return 0 < value < 10
    return place >= 100


def _grouped(value: int) -> str:
    for name, scale in sorted(SCALES.items(), key=lambda each: -each[1]):
        if scale >= _LEAST_SCALE and value >= scale and value % scale == 0:
            return f"{value // scale:,} {name}"
    return f"{value:,}"


def _ordinal(value: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value:,}{'th' if value % 100 in (11, 12, 13) else ending}"
