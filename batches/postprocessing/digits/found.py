"""`Found`: a number in a text, with its text in digits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """Number found in a text: ``written`` replaces the span ``start`` to ``end``."""

    start: int
    end: int
    written: str
