"""Channel comparison, for recordings with one speaker per channel, such as those of call recorders.

Channels with the same audio, which many recorders write, are deduplicated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batches.recognition.media.decoding import SAMPLE_RATE, Audio, Samples

# Tracks with more channels are surround sound, whose channels are places and not people.
MOST_CHANNELS = 4
_ALIKE = 0.98  # correlation above which two channels hold the same sound, whatever their loudness
_WINDOW = SAMPLE_RATE // 50  # 20 ms ...
_MOST_WINDOWS = 10_000  # ... that many of which stand for a channel, evenly spread


def different(found: Sequence[Audio]) -> list[Audio]:
    """Channels without duplicates, in order."""
    kept: list[Audio] = []
    sketches: list[Samples] = []
    for audio in found:
        own = sketch(audio.samples)
        if not any(alike(own, other) for other in sketches):
            kept.append(audio)
            sketches.append(own)
    return kept


def sketch(samples: Samples) -> Samples:
    """Subsample of the whole channel, for comparison with others."""
    windows = len(samples) // _WINDOW
    chosen = np.linspace(0, max(0, windows - 1), min(windows, _MOST_WINDOWS)).astype(np.int64)
    taken: Samples = samples[: windows * _WINDOW].reshape(-1, _WINDOW)[chosen].ravel()
    return taken


def alike(one: Samples, other: Samples) -> bool:
    """Whether two channels have the same audio, regardless of volume and phase inversion.

    Silence equals only silence.
    """
    count = min(len(one), len(other))
    first, second = one[:count].astype(np.float64), other[:count].astype(np.float64)
    energies = float(first @ first), float(second @ second)
    if not all(energies):
        return not any(energies)
    return abs(float(first @ second)) > _ALIKE * float(np.sqrt(energies[0] * energies[1]))
