"""Crosstalk removal: mutes what one channel picks up from another.

From windows in which one channel is much louder, the path into the other is estimated as a filter of 50 ms,
by the ratio of cross spectrum and power spectrum (a Wiener filter). A window of the quieter channel that the
filter explains contains only crosstalk. If the filter explains one channel by the other throughout, at about
the same level, both contain the same conversation, and one is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from batches.recognition.media.decoding import SAMPLE_RATE, Audio, Samples

WINDOW = SAMPLE_RATE // 2  # samples
_SIZE = 2 * WINDOW  # of the Fourier transforms: no circular overlap within the longest delay
_LONGEST_DELAY = SAMPLE_RATE // 40  # samples, either way
_ACTIVE_DB = -30.0  # below a channel's loud windows, a window of it is silent
_LOUD_DB = -20.0  # the same for windows that are compared to find one conversation on both
_FLOOR_DB = -75.0  # below, any window is silent
_LOUDER_DB = 8.0  # by which a channel is louder than what of it reaches the other
_LEAST_WINDOWS = 3  # from which a path is estimated
_EXPLAINED = 0.4  # correlation of a window with what the filter makes of the other channel
_SAME = 0.6  # the same where both channels hold one conversation ...
_SAME_SHARE = 0.8  # ... in that share of the windows
_SAME_SPREAD_DB = 8.0  # and the levels' difference varies by less
_AT_ONCE = 64  # windows
_FADE = SAMPLE_RATE // 100  # samples

Spectra = npt.NDArray[np.complex128]


def separate(found: Sequence[Audio]) -> list[Audio]:
    """Mute crosstalk in place; of channels with the same conversation the first is kept."""
    kept = list(found)
    for one, other in itertools.permutations(found, 2):
        count = min(len(one.samples), len(other.samples)) // WINDOW
        if count and other in kept and one in kept:
            levels = _levels(one.samples, count), _levels(other.samples, count)
            if found.index(one) < found.index(other) and _is_one_conversation(one, other, levels):
                kept.remove(other)
            else:
                _mute(one, other, levels)
    return kept


def _levels(samples: Samples, count: int) -> npt.NDArray[np.float64]:
    """(count,) mean power of each window in dB."""
    power = np.empty(count)
    for first in range(0, count, _AT_ONCE):
        last = min(count, first + _AT_ONCE)
        power[first:last] = np.square(_windows(samples, np.arange(first, last))).mean(axis=1)
    return 10 * np.log10(power + 1e-12)


def _windows(samples: Samples, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.stack([samples[n * WINDOW : (n + 1) * WINDOW] for n in numbers.tolist()]).astype(np.float64)


def _is_active(levels: npt.NDArray[np.float64], range_db: float = _ACTIVE_DB) -> npt.NDArray[np.bool_]:
    return (levels > np.percentile(levels, 95) + range_db) & (levels > _FLOOR_DB)


def _mute(
    source: Audio, target: Audio, levels: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> None:
    """Mute the windows of ``target`` that contain only crosstalk from ``source``."""
    louder = np.flatnonzero(
        _is_active(levels[0]) & (levels[0] - levels[1] > _LOUDER_DB) & (levels[1] > -90.0)
    )
    if len(louder) < _LEAST_WINDOWS:
        return
    explained = louder[_explained(source, target, louder, _path(source, target, louder)) > _EXPLAINED]
    for number in explained.tolist():
        window = target.samples[number * WINDOW : (number + 1) * WINDOW]
        window[:] = 0.0
    for number in explained.tolist():  # no clicks at the edges
        before = target.samples[max(0, number * WINDOW - _FADE) : number * WINDOW]
        after = target.samples[(number + 1) * WINDOW :][:_FADE]
        before *= np.linspace(1, 0, len(before), dtype=np.float32)
        after *= np.linspace(0, 1, len(after), dtype=np.float32)


def _is_one_conversation(
    one: Audio, other: Audio, levels: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
) -> bool:
    is_loud = [_is_active(each, _LOUD_DB) for each in levels]
    active = np.flatnonzero(is_loud[0] & is_loud[1])
    loud = is_loud[0] | is_loud[1]
    if len(active) < max(_LEAST_WINDOWS, 0.9 * np.count_nonzero(loud)):
        return False
    low, high = np.percentile((levels[0] - levels[1])[active], [10, 90])
    if high - low > _SAME_SPREAD_DB:
        return False
    likeness = _explained(one, other, active, _path(one, other, active))
    return bool((likeness > _SAME).mean() > _SAME_SHARE)


def _spectra(samples: Samples, numbers: npt.NDArray[np.int64]) -> Spectra:
    return np.fft.rfft(_windows(samples, numbers), _SIZE)


def _path(source: Audio, target: Audio, numbers: npt.NDArray[np.int64]) -> Spectra:
    """The filter from one channel to the other, as a spectrum, from some of these windows."""
    chosen = numbers[np.linspace(0, len(numbers) - 1, min(len(numbers), 600)).astype(np.int64)]
    cross = np.zeros(_SIZE // 2 + 1, dtype=np.complex128)
    power = np.zeros(_SIZE // 2 + 1)
    for part in np.array_split(chosen, -(-len(chosen) // _AT_ONCE)):
        heard, reached = _spectra(source.samples, part), _spectra(target.samples, part)
        cross += (np.conj(heard) * reached).sum(axis=0)
        power += np.square(np.abs(heard)).sum(axis=0)
    impulse = np.fft.irfft(cross / (power + 1e-3 * power.max() + 1e-12), _SIZE)
    impulse[_LONGEST_DELAY:-_LONGEST_DELAY] = 0.0
    return np.fft.rfft(impulse)


def _explained(
    source: Audio, target: Audio, numbers: npt.NDArray[np.int64], path: Spectra
) -> npt.NDArray[np.float64]:
    """(windows,) correlation of the target with the filtered source."""
    found = []
    for part in np.array_split(numbers, -(-len(numbers) // _AT_ONCE)):
        made = np.fft.irfft(_spectra(source.samples, part) * path, _SIZE)[:, :WINDOW]
        real = _windows(target.samples, part)
        norms = np.sqrt(np.square(made).sum(axis=1) * np.square(real).sum(axis=1))
        found.append((made * real).sum(axis=1) / np.maximum(norms, 1e-12))
    return np.concatenate(found)
