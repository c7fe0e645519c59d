"""Signs that a piece of decoded text went wrong. Thresholds are those of openai-whisper's transcribe()."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

MAX_COMPRESSION_RATIO = 2.4  # above: the text repeats itself
MIN_MEAN_LOGPROB = -1.0  # below: the model is guessing
MAX_NO_SPEECH = 0.6  # above: there may be nobody speaking
_LOOP_TOKENS = 24  # a loop of at least that many tokens ...
_LOOP_TURNS = 4  # ... that goes round at least that many times
LONGEST_PERIOD = 16  # tokens of one turn of a loop, at most


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of its compressed form; 1.0 for none."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 1.0


def loop_turns(period: int) -> int:
    """How often a loop of ``period`` tokens goes round before it counts as one."""
    return max(_LOOP_TURNS, -(-_LOOP_TOKENS // period))


def loop_start(tokens: Sequence[int]) -> int | None:
    """Where the second turn of the loop starts in which the tokens end; None if they do not loop."""
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
    """Whether the text says something twice in a row, whatever the punctuation: it is often made up.

    Six words count, or twelve characters where words are not spaced.
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
