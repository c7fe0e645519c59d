"""Quality checks of decoded text, with the thresholds of openai-whisper's transcribe()."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

MAX_COMPRESSION_RATIO = 2.4  # above: the text repeats itself
MIN_MEAN_LOGPROB = -1.0  # below: the model is guessing
MAX_NO_SPEECH = 0.6  # above: possibly no speech
_LOOP_TOKENS = 24  # a loop has at least this many tokens ...
_LOOP_TURNS = 4  # ... and at least this many repetitions
LONGEST_PERIOD = 16  # tokens of one turn of a loop, at most


def compression_ratio(text: str) -> float:
    """Size of the text over that of its compressed form, in bytes; 1.0 for an empty text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 1.0


def has_digits(text: str) -> bool:
    """Whether a text has digits of any script, as opposed to number words."""
    return any(map(str.isdecimal, text))


def loop_turns(period: int) -> int:
    """Number of repetitions from which ``period`` tokens count as a loop."""
    return max(_LOOP_TURNS, -(-_LOOP_TOKENS // period))


def loop_start(tokens: Sequence[int]) -> int | None:
    """Index of the second repetition in a final loop of the tokens; None if there is no loop."""
    for period in range(1, LONGEST_PERIOD + 1):
        turns = loop_turns(period)
        if len(tokens) < period * turns:
            break
        tail = tokens[-period * turns :]
        if all(tail[index] == tail[index % period] for index in range(len(tail))):
            start = len(tokens) - period
            while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
                start -= 1
            return start + period
    return None


def says_twice(text: str) -> bool:
    """Whether the text contains an immediate repetition, ignoring punctuation: often a hallucination.

    At least six words, or twelve characters in scripts without spaces.
    """
    units: Sequence[str] = re.findall(r"\w+", text.casefold())
    shortest = 6
    if sum(map(len, units)) > 12 * len(units):
        units, shortest = "".join(units), 12
    return any(
        units[start : start + period] == units[start + period : start + 2 * period]
        for period in range(shortest, len(units) // 2 + 1)
        for start in range(len(units) - 2 * period + 1)
    )
