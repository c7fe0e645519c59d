"""Rules for digit runs: card, resident registration, business, phone, account, licence, passport, birth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import phonenumbers
from stdnum import ean, iban, luhn
from stdnum.exceptions import ValidationError
from stdnum.kr import brn, rrn

from batches.postprocessing.detection.context import Contexts
from batches.postprocessing.detection.spoken import Atom, Run
from batches.postprocessing.detection.vocabulary import OTHER

_SHORTEST, _LONGEST = 6, 19
_KOREAN_REGIONS = frozenset([*range(11, 29)])  # of driving licences


@dataclass(frozen=True, slots=True)
class Window:
    """Window of consecutive atoms of a digit run."""

    run: Run
    first: int
    last: int  # inclusive

    @property
    def atoms(self) -> list[Atom]:
        return self.run.atoms[self.first : self.last + 1]

    @property
    def digits(self) -> str:
        return "".join(atom.digits for atom in self.atoms if not atom.letter)

    @property
    def groups(self) -> list[int]:
        """Number of digits of each token."""
        lengths: dict[int, int] = {}
        for atom in self.atoms:
            lengths[atom.token] = lengths.get(atom.token, 0) + len(atom.digits)
        return [*lengths.values()]

    @property
    def has_letters(self) -> bool:
        return any(atom.letter for atom in self.atoms)


@dataclass(frozen=True, slots=True)
class Match:
    kind: str
    score: int
    window: Window


def matches(run: Run, text: str, contexts: Contexts) -> list[Match]:
    """Non-overlapping matches in a digit run, in order; the most certain ones are selected first."""
    start, end = run.atoms[0].start, run.atoms[-1].end
    context = contexts.at(start, end)
    candidates = [match for window in _windows(run) for match in _candidates(window, context, contexts, text)]
    candidates.sort(key=lambda match: (-match.score, -(match.window.last - match.window.first)))
    chosen: list[Match] = []
    for match in candidates:
        window = match.window
        if all(window.last < each.window.first or window.first > each.window.last for each in chosen):
            chosen.append(match)
    return sorted(chosen, key=lambda match: match.window.first)


def _windows(run: Run) -> Iterator[Window]:
    """All windows of whole tokens with a number of digits that some kind of number has."""
    atoms = run.atoms
    starts = [at for at in range(len(atoms)) if at == 0 or atoms[at - 1].token != atoms[at].token]
    for first in starts:
        count = 0
        for last in range(first, len(atoms)):
            count += 0 if atoms[last].letter else len(atoms[last].digits)
            if count > _LONGEST:
                break
            whole = last + 1 == len(atoms) or atoms[last + 1].token != atoms[last].token
            if whole and count >= _SHORTEST:
                yield Window(run, first, last)


def _candidates(window: Window, context: str, contexts: Contexts, text: str) -> Iterator[Match]:
    digits = window.digits
    if window.has_letters:
        if context in {"passport", "licence"} and 6 <= len(digits) <= 14:
            yield Match(context, 105, window)
        return
    for kind, rule in _RULES.items():
        if score := rule(digits, window, context):
            yield Match(kind, score + (20 if kind == context else 0), window)


def _card(digits: str, window: Window, context: str) -> int:
    """Payment card number (ISO/IEC 7812): 13 to 19 digits with a check digit and an issuer's prefix."""
    if 13 <= len(digits) <= 19 and _is_issuer(digits) and luhn.is_valid(digits) and len(set(digits)) > 1:
        if context == OTHER and len(digits) == 13 and ean.is_valid(digits):
            return 0
        return 90 if len(digits) in {15, 16} else 70
    # A misrecognised digit invalidates the check digit.
    return 60 if context == "card" and 14 <= len(digits) <= 17 else 0


def _is_issuer(digits: str) -> bool:
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        return len(digits) in {13, 16, 19}
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return len(digits) == 16
    if two in {34, 37}:
        return len(digits) == 15
    if two in {36, 38, 39} or digits[:2] == "30":
        return len(digits) in {14, 16}
    # 9: Korean domestic cards.
    return (digits[0] in "3569" and len(digits) == 16) or (digits[0] in "56" and len(digits) >= 16)


def _resident(digits: str, window: Window, context: str) -> int:
    if len(digits) == 13 and _is_born(digits):
        if rrn.is_valid(digits):
            return 95
        # Numbers issued since October 2020 have no check digit.
        return 92 if context == "resident" or (_split(window, 6, 7) and context != OTHER) else 0
    if context == "resident":
        return 80 if len(digits) in {7, 9, 13} else 0
    return 88 if len(digits) == 9 and _split(window, 3, 2, 4) and context != OTHER else 0


def _is_born(digits: str) -> bool:
    century = {"1": 19, "2": 19, "5": 19, "6": 19, "9": 18, "0": 18}.get(digits[6], 20)
    return _is_date(century * 100 + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        return 1850 <= date(year, month, day).year <= 2100
    except ValueError:
        return False


def _split(window: Window, *lengths: int) -> bool:
    """Whether the number is written or spoken in groups of these lengths."""
    return window.groups == list(lengths)


def _business(digits: str, window: Window, context: str) -> int:
    if len(digits) == 10 and brn.is_valid(digits):
        return 94 if context == "business" or (_split(window, 3, 2, 5) and context != OTHER) else 0
    return 75 if context == "business" and len(digits) in {9, 10, 13} else 0


def _phone(digits: str, window: Window, context: str) -> int:
    if context == "phone" and 7 <= len(digits) <= 13:
        return 40 + (46 if _is_phone(digits) else 0)
    if digits.startswith(("010", "011", "016", "017", "018", "019")) and _is_valid(digits, "KR"):
        return 85
    if context in {OTHER, "account", "card", "resident", "business"}:
        return 0
    if digits.startswith("0") and (_is_valid(digits, "KR") or _is_valid(digits, "GB")):
        return 82
    if len(digits) in {11, 12} and digits.startswith("82") and _is_valid(f"+{digits}", None):
        return 82
    parted = len(window.groups) >= 2 or any(atom.spoken for atom in window.atoms)
    plain = _split(window, 3, 3, 4) or _split(window, 1, 3, 3, 4)
    if (plain or (parted and not context)) and len(digits) in {10, 11} and _is_valid(digits, "US"):
        return 80
    return 78 if _split(window, 4, 4) and digits[:2] in {"15", "16", "18"} and _is_valid(digits, "KR") else 0


def _is_phone(digits: str) -> bool:
    return any(_is_valid(digits, region) for region in ("KR", "US", "GB")) or _is_valid(f"+{digits}", None)


def _is_valid(digits: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


def _account(digits: str, window: Window, context: str) -> int:
    return 70 + len(digits) // 4 if context == "account" and 7 <= len(digits) <= 16 else 0


def _licence(digits: str, window: Window, context: str) -> int:
    korean = len(digits) == 12 and int(digits[:2]) in _KOREAN_REGIONS
    if context == "licence":
        return 84 if korean else 70 if 7 <= len(digits) <= 14 else 0
    return 84 if korean and _split(window, 2, 2, 6, 2) and context != OTHER else 0


def _passport(digits: str, window: Window, context: str) -> int:
    return 80 if context == "passport" and 7 <= len(digits) <= 9 else 0


def _birth(digits: str, window: Window, context: str) -> int:
    if context != "birth" or len(digits) not in {6, 8}:
        return 0
    year, rest = digits[:-4], digits[-4:]
    centuries = (1900, 2000) if len(year) == 2 else (0,)
    forms = [(int(year), int(rest[:2]), int(rest[2:]))]
    if len(digits) == 8:
        month, day, year_last = int(digits[:2]), int(digits[2:4]), int(digits[4:])
        forms += [(year_last, month, day), (year_last, day, month)]
    good = any(_is_date(century + year, month, day) for century in centuries for year, month, day in forms)
    return 83 if good else 0


_RULES = {
    "card": _card,
    "resident": _resident,
    "business": _business,
    "phone": _phone,
    "account": _account,
    "licence": _licence,
    "passport": _passport,
    "birth": _birth,
}


def is_iban(text: str) -> bool:
    """Whether a text is an IBAN (ISO 13616) with valid check digits."""
    try:
        iban.validate(text, check_country=False)
    except ValidationError:
        return False
    return True
