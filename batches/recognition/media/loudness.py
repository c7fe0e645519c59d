"""Loudness of a recording over time, for a waveform beside its transcript."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batches.recognition.media.decoding import SAMPLE_RATE, Samples

MOST_VALUES = 2000  # More than a page has pixels for.
SHORTEST = SAMPLE_RATE // 10  # samples of one value


def loudness(tracks: Sequence[Samples]) -> list[int]:
    """The peak in each of up to 2000 equal parts, 0..100, where 100 is the loudest part of the recording.

    Args:
        tracks: (n,) float32 each: a file, or its channels; they may differ in length.
    """
    length = max((len(track) for track in tracks), default=0)
    count = max(1, min(MOST_VALUES, length // SHORTEST))
    edges = np.linspace(0, length, count + 1).astype(int)[:-1]
    peaks = np.zeros(count, dtype=np.float32)
    for track in tracks:
        inside = edges[edges < len(track)]
        if len(inside):
            # Not of the absolute values: they would be a second copy of hours of samples.
            found = np.maximum(np.maximum.reduceat(track, inside), -np.minimum.reduceat(track, inside))
            peaks[: len(inside)] = np.maximum(peaks[: len(inside)], found)
    highest = float(peaks.max(initial=0.0))
    return [round(100 * float(peak) / highest) for peak in peaks] if highest else []
