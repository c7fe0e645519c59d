"""Bounds on the number of speakers of a file."""

from __future__ import annotations


def check_bounds(min_speakers: int, max_speakers: int) -> None:
    """Raise ValueError unless the numbers are -1 (not set) or positive, and in order."""
    for number in (min_speakers, max_speakers):
        if number != -1 and number < 1:
            raise ValueError(f"a number of speakers is -1 (not set) or at least 1, not {number}")
    if -1 not in (min_speakers, max_speakers) and min_speakers > max_speakers:
        raise ValueError(f"at least {min_speakers} and at most {max_speakers} speakers is impossible")
