"""Timestamps of subtitle files and transcripts."""

from __future__ import annotations


def timestamp(milliseconds: int, separator: str) -> str:
    """Format a time as ``01:02:03,456``; from 100 hours on, hours have more than two digits."""
    seconds, rest = divmod(max(0, milliseconds), 1000)
    return f"{hms(seconds)}{separator}{rest:03}"


def hms(seconds: int) -> str:
    """Format seconds as ``01:02:03``."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"
