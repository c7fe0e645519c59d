"""Channel separation: decodes each channel of a recording by itself, as call recorders store the two sides.

Channels that hold the same sound, as many recorders write it, are decoded as one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from batches.recognition.media.decoding import SAMPLE_RATE, Audio, Samples, decode, probe
from batches.recognition.options import Options

# Files with more channels are surround sound, whose channels are places and not people.
MOST_CHANNELS = 4
_ALIKE = 0.98  # correlation above which two channels hold the same sound, whatever their loudness
_WINDOW = SAMPLE_RATE // 50  # 20 ms ...
_MOST_WINDOWS = 10_000  # ... that many of which stand for a channel, evenly spread


def decode_channels(
    path: Path, options: Options, progress: Callable[[float], None], *, scratch: Path | None = None
) -> list[tuple[int, Audio]]:
    """The channels that differ, each with its number from 0; surround sound is mixed down to one.

    ``scratch`` is the folder for decoded sound, by default the system's.

    Raises the MediaErrors of :mod:`batches.recognition.errors`.
    """
    count = probe(path, max_bytes=options.max_bytes).channels
    if not 1 < count <= MOST_CHANNELS:
        return [(0, _decode(path, options, None, progress, scratch))]
    found: list[tuple[int, Audio]] = []
    sketches: list[Samples] = []
    for channel in range(count):
        share = functools.partial(_report, progress, channel, count)
        audio = _decode(path, options, channel, share, scratch)
        sketch = _sketch(audio.samples)
        if not any(alike(sketch, other) for other in sketches):
            found.append((channel, audio))
            sketches.append(sketch)
    return found


def _report(progress: Callable[[float], None], done: int, count: int, share: float) -> None:
    progress((done + share) / count)


def _decode(
    path: Path,
    options: Options,
    channel: int | None,
    progress: Callable[[float], None],
    scratch: Path | None,
) -> Audio:
    return decode(
        path,
        max_duration_ms=options.max_duration_ms,
        max_bytes=options.max_bytes,
        channel=channel,
        progress=progress,
        scratch=scratch,
    )


def _sketch(samples: Samples) -> Samples:
    """A sample of the whole channel, small enough to keep while the others are decoded."""
    windows = len(samples) // _WINDOW
    chosen = np.linspace(0, max(0, windows - 1), min(windows, _MOST_WINDOWS)).astype(np.int64)
    sketch: Samples = samples[: windows * _WINDOW].reshape(-1, _WINDOW)[chosen].ravel()
    return sketch


def alike(one: Samples, other: Samples) -> bool:
    """Whether two channels hold one sound, perhaps at two volumes or with opposite phase.

    Silence equals silence only.
    """
    count = min(len(one), len(other))
    first, second = one[:count].astype(np.float64), other[:count].astype(np.float64)
    energies = float(first @ first), float(second @ second)
    if not all(energies):
        return not any(energies)
    return abs(float(first @ second)) > _ALIKE * float(np.sqrt(energies[0] * energies[1]))
