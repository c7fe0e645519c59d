"""Numbers read out digit by digit: telephone numbers, codes, account numbers.

Uses the digit runs of redaction (:mod:`batches.postprocessing.detection.spoken`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from batches.postprocessing.detection.spoken import Atom, Run, runs
from batches.postprocessing.digits.found import Found

_LEAST = 7  # digits; shorter runs may be counts, prices or years
_GROUP_BREAK = re.compile(r"[,.\-–]|다시|대시|하이픈|에|의|\bdash\b|\bhyphen\b", re.IGNORECASE)
_BETWEEN = re.compile(rf"(?:\s|{_GROUP_BREAK.pattern})*", re.IGNORECASE)  # two digits of one number
# Lengths of the groups in which a telephone number is written, by its first digits and its length.
_SHAPES: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"02\d{7}", (2, 3, 4)),
    (r"02\d{8}", (2, 4, 4)),
    (r"0\d{9}", (3, 3, 4)),
    (r"0\d{10}", (3, 4, 4)),
    (r"1[5-8]\d{6}", (4, 4)),
)
_AMERICAN_SHAPES: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"1[2-9]\d{9}", (1, 3, 3, 4)),
    (r"[2-9]\d{9}", (3, 3, 4)),
    (r"[2-9]\d{6}", (3, 4)),
)


def find(text: str) -> Iterator[Found]:
    """Runs of at least seven digits that are all spoken one by one."""
    for run in runs(text, _LEAST):
        for atoms in _close_stretches(text, run):
            digits = "".join(atom.digits for atom in atoms)
            is_read_out = all(atom.spoken and len(set(atom.digits)) == 1 for atom in atoms)
            one_by_one = len({atom.token for atom in atoms}) == len(atoms)
            counted = one_by_one and is_counting(digits)
            if len(digits) >= _LEAST and is_read_out and not counted:
                yield Found(atoms[0].start, atoms[-1].end, _written(text, atoms, digits))


def is_counting(digits: str) -> bool:
    """Whether the digits count up or down: each is one more, or each one less, than the one before."""
    steps = {int(two) - int(one) for one, two in itertools.pairwise(digits)}
    return steps in ({1}, {-1})


def _close_stretches(text: str, run: Run) -> Iterator[list[Atom]]:
    """Sequences of digits with only spaces, punctuation or "dash" between them."""
    stretch: list[Atom] = []
    for atom in run.atoms:
        if stretch and (atom.letter or not _BETWEEN.fullmatch(text[stretch[-1].end : atom.start])):
            yield stretch
            stretch = []
        if not atom.letter:
            stretch.append(atom)
    if stretch:
        yield stretch


def _written(text: str, atoms: Sequence[Atom], digits: str) -> str:
    is_english = text[atoms[0].start].isascii()
    for pattern, lengths in (*_SHAPES, *(_AMERICAN_SHAPES if is_english else ())):
        if re.fullmatch(pattern, digits):
            return "-".join(_split(digits, lengths))
    groups = [atoms[0].digits]
    for one, two in itertools.pairwise(atoms):
        if _GROUP_BREAK.search(text[one.end : two.start]):
            groups.append("")
        groups[-1] += two.digits
    return "-".join(groups)


def _split(digits: str, lengths: Sequence[int]) -> Iterator[str]:
    at = 0
    for length in lengths:
        yield digits[at : at + length]
        at += length
