"""Timestamps: times as subtitle files and transcripts write them."""

from __future__ import annotations


def timestamp(milliseconds: int, separator: str) -> str:
    """``01:02:03,456``; hours take more than two digits from 100 hours on."""
    seconds, rest = divmod(max(0, milliseconds), 1000)
    return f"{hms(seconds)}{separator}{rest:03}"


def hms(seconds: int) -> str:
    """``01:02:03``."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}"
