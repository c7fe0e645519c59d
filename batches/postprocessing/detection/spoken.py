"""Digit runs: spoken and written digits of a text, in digits, Korean or English words, with their offsets.

A run is a number read out by one person: digits and words for digits, separated by pauses, particles,
fillers, "dash" and segment boundaries. ``four one double two`` and ``공일공 다시 일이삼사`` are runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from batches.postprocessing.detection.vocabulary import (
    ENGLISH_DIGITS,
    FILLERS,
    KOREAN_DIGITS,
    LETTER_NAMES,
    SEPARATORS,
    TEENS,
    TENS,
    TIMES,
)

_MOST_FILLERS = 5  # words between two digits
_PARTICLES = re.compile(
    r"(?:이고요?|이구요?|고요?|구요|이에요|예요|이요|요|입니다|이며|번으로|번에서|번은|번을|번에|번이에요|번이요|번입니다|번이고요?|번"
    r"|은|는|이|가|을|를|으로|로|에서|에|의|하고|이랑|랑|까지|다시|이라고|라고|인데요?|이거든요|거든요)$"
)
_TOKEN = re.compile(r"[0-9０-９]+|[가-힣]+|[A-Za-z]+|\n|\S")
# "(?<![0-9])": tried once for a run of digits, not at each of them.
_AMOUNT = re.compile(
    r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|(?<![0-9])(?:[0-9]+:[0-9]{2}|[0-9]+\.[0-9]+(?![0-9.])|[0-9]+\s?%)"
)
_BREAKING = frozenset("/:%$€£₩=&;\"'“”")
_INSIDE = re.compile("다시|대시|에|의")  # in a Korean word of digits without spaces
_DIGIT_NAME = re.compile("|".join(sorted(KOREAN_DIGITS, key=len, reverse=True)))
_DIGIT_NAMES = re.compile(f"(?:{_DIGIT_NAME.pattern})+")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.")
_LOOSE = frozenset(("그리고", "다음", "then", "and"))  # words between groups, not part of the number


@dataclass(frozen=True, slots=True)
class Atom:
    """Smallest part of a digit run: the digits (or the letter) of the span ``start`` to ``end``."""

    start: int
    end: int
    digits: str
    token: int  # atoms of one token, such as "010" or "일이삼사", are not separated
    letter: bool = False
    spoken: bool = False


@dataclass(slots=True)
class Run:
    atoms: list[Atom] = field(default_factory=list)
    # For each atom, whether only spaces and punctuation are between it and the one before.
    close: list[bool] = field(default_factory=list)

    @property
    def digits(self) -> str:
        return "".join(atom.digits for atom in self.atoms if not atom.letter)


def runs(text: str, at_least: int = 6) -> list[Run]:
    """Digit runs of at least ``at_least`` digits, in order."""
    reader = _Reader(text, at_least)
    for number in range(len(reader.tokens)):
        reader.read(number)
    reader.end_run()
    return reader.found


class _Reader:
    """Parser that reads a text token by token."""

    def __init__(self, text: str, at_least: int) -> None:
        self.found: list[Run] = []
        self.tokens = [*_TOKEN.finditer(text)]
        self._text = text
        self._at_least = at_least
        self._amounts = {match.start(): match.end() for match in _AMOUNT.finditer(text)}
        self._run = Run()
        self._close = True  # whether the next atom follows the last one closely
        self._fillers = 0
        self._skipped_to = 0
        self._times: re.Match[str] | None = None  # "double" before a digit

    def read(self, number: int) -> None:
        match = self.tokens[number]
        if match.start() < self._skipped_to:
            return
        if self._is_amount(match.start()):
            self._skipped_to = self._amounts[match.start()]
            self.end_run()
            return
        atoms, has_tail = self._atoms(number)
        if atoms:
            for at, atom in enumerate(atoms):
                self._run.atoms.append(atom)
                self._run.close.append(self._close if at == 0 else True)
            self._fillers, self._close, self._times = 0, not has_tail, None
        else:
            self._between(match)

    def _is_amount(self, start: int) -> bool:
        """Whether a price, a time or a decimal number begins here; 02.123.4567 is not one."""
        return start in self._amounts and not _DOTTED.match(self._text, start)

    def _between(self, match: re.Match[str]) -> None:
        """Read a token that is not a digit, which continues or ends the run."""
        word = match[0].lower()
        if word in TIMES:
            self._times = match
        elif word == "\n":
            self._close = False
        elif word in SEPARATORS:
            self._close = self._close and word not in _LOOSE
        elif word in FILLERS and self._run.atoms and self._fillers < _MOST_FILLERS:
            self._fillers, self._close = self._fillers + 1, False
        elif word[0].isalnum() or word in _BREAKING:
            if self._run.atoms and _PARTICLES.fullmatch(word):
                self._close = False
            else:
                self.end_run()

    def end_run(self) -> None:
        while self._run.atoms and self._run.atoms[-1].letter:
            self._run.atoms.pop()
            self._run.close.pop()
        if len(self._run.digits) >= self._at_least:
            self.found.append(self._run)
        if self._run.atoms:
            self._run = Run()
        self._fillers, self._close, self._times = 0, True, None

    def _atoms(self, number: int) -> tuple[list[Atom], bool]:
        """Atoms of a token, and whether they are followed by a remainder (a particle)."""
        match = self.tokens[number]
        first = match[0][0]
        if first.isdigit():
            return self._figures(number), False
        if "가" <= first <= "힣":
            if self._follows_figures(number) and _PARTICLES.fullmatch(match[0]):
                return [], False  # "5678이고": its 이 is not a two
            return _korean(match[0], match.start(), number, self._run)
        if first.isascii() and first.isalpha():
            return self._english(number), False
        return [], False

    def _follows_figures(self, number: int) -> bool:
        before = self.tokens[number - 1] if number else None
        joined = before is not None and before.end() == self.tokens[number].start()
        return joined and before is not None and before[0][0].isdigit()

    def _figures(self, number: int) -> list[Atom]:
        match = self.tokens[number]
        following = self.tokens[number + 1] if number + 1 < len(self.tokens) else None
        if following and following.start() == match.end() and not _may_follow(following[0]):
            return []  # an amount, such as 3개
        digits = match[0].translate(_WIDE)
        if self._times and len(digits) == 1:
            return [self._multiplied(match, digits, number)]
        start = match.start()
        return [Atom(start + at, start + at + 1, digit, number) for at, digit in enumerate(digits)]

    def _multiplied(self, match: re.Match[str], digit: str, number: int) -> Atom:
        times = self._times
        start, count = (times.start(), TIMES[times[0].lower()]) if times else (match.start(), 1)
        return Atom(start, match.end(), digit * count, number, spoken=True)

    def _english(self, number: int) -> list[Atom]:
        match = self.tokens[number]
        word, start, end = match[0].lower(), match.start(), match.end()
        if digit := ENGLISH_DIGITS.get(word):
            return [self._multiplied(match, digit, number)]
        if digits := TEENS.get(word) or self._tens(word, number) or self._hundred(word):
            return [Atom(start, end, digits, number, spoken=True)]
        if len(word) == 1 and match[0] not in {"a", "I", "i"}:
            return [Atom(start, end, word.upper(), number, letter=True)]
        return []

    def _tens(self, word: str, number: int) -> str:
        """Digits of a word for tens: "twenty one" is 2 and 1, "twenty" is 20."""
        if word not in TENS:
            return ""
        following = next((each[0] for each in self.tokens[number + 1 : number + 3] if each[0].isalnum()), "")
        return TENS[word] + ("" if ENGLISH_DIGITS.get(following.lower(), "0") != "0" else "0")

    def _hundred(self, word: str) -> str:
        return "00" if word == "hundred" and self._run.atoms and self._run.atoms[-1].spoken else ""


def _korean(word: str, start: int, token: int, run: Run) -> tuple[list[Atom], bool]:
    """Atoms of a Korean word that consists of digit syllables and at most a particle."""
    atoms: list[Atom] = []
    at = 0
    while at < len(word):
        rest = word[at:]
        if name := _DIGIT_NAME.match(word, at):
            if atoms and len(rest) > 1 and _PARTICLES.fullmatch(rest) and not _DIGIT_NAMES.fullmatch(rest):
                return atoms, True  # "칠팔이에요": its 이 is not a two
            atoms.append(Atom(start + at, start + name.end(), KOREAN_DIGITS[name[0]], token, spoken=True))
            at = name.end()
        elif atoms and (inside := _INSIDE.match(word, at)) and inside.end() < len(word):
            at = inside.end()
        else:
            break
    rest = word[at:]
    if atoms and (not rest or _PARTICLES.fullmatch(rest)):
        return atoms, bool(rest)
    if run.atoms and word in LETTER_NAMES:
        return [Atom(start, start + len(word), word, token, letter=True)], False
    return [], False


def _may_follow(word: str) -> bool:
    """Whether a suffix may follow digits of a number, that is, does not make them an amount or a date."""
    if not "가" <= word[0] <= "힣":
        return True
    if word in {"번", "에", "의", "다시"} or word.startswith(("번이", "번입", "번으", "번은", "번인")):
        return True
    return _PARTICLES.fullmatch(word) is not None


_WIDE = str.maketrans("０１２３４５６７８９", "0123456789")
