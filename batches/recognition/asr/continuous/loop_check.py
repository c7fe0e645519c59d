"""Loop check of many texts at once, with the result of :func:`batches.recognition.asr.quality.loop_start`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from batches.recognition.asr.quality import LONGEST_PERIOD, loop_start, loop_turns

_TAIL = max(period * loop_turns(period) for period in range(1, LONGEST_PERIOD + 1))  # tokens that matter


def find_loops(tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[int | None]:
    """For each row of (rows, n) tokens, cut to its length: the index of the second repetition of its loop.

    None for rows that do not end in a loop. Only rows that do are checked one by one.
    """
    if not len(lengths):
        return []
    places = lengths[:, None] - _TAIL + np.arange(_TAIL)
    read = np.take_along_axis(tokens, np.maximum(places, 0), axis=1)
    tails = np.where(places >= 0, read, -1 - np.arange(_TAIL))  # what is before the text equals nothing
    looping = np.zeros(len(lengths), dtype=bool)
    for period in range(1, LONGEST_PERIOD + 1):
        span = period * loop_turns(period)
        equal = tails[:, _TAIL - span + period :] == tails[:, _TAIL - span : _TAIL - period]
        looping |= (lengths >= span) & equal.all(axis=1)
    return [
        loop_start(tokens[row, : lengths[row]].tolist()) if looping[row] else None
        for row in range(len(lengths))
    ]
