"""Parallel decoding of a long file in parts, with the same samples as one pass.

Each part but the first starts early: codecs need preceding data (AAC overlaps frames, MP3 has a bit
reservoir), and seeking in a container may be inexact. So a part's first samples are discarded, and the
following ones must equal the end of the previous part sample by sample. If they do not, or if silence proves
nothing, the file is decoded in one pass, so no knowledge of formats is needed. In some formats no two starts
give the same samples (Opus is predictive, MP4 seeking is not sample-accurate): this is detected first, by
decoding a few seconds from two starts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
LEAST_SECONDS = 600.0  # of a file: shorter ones are decoded before the parts have started
_EARLY = 2  # seconds before its start that a part is decoded from
_REPEATED = 3  # seconds that two parts have in common; starts are whole seconds, as resampling needs
_TICK = 0.2  # seconds between two reports of progress

Samples = NDArray[np.float32]  # (n, channels)
File = TypeVar("File")
# Decodes (first second, number of seconds, progress) to a file, its samples and ffmpeg's log.
Run = Callable[[float, float, Callable[[float], None]], tuple[File, Samples, str]]


class _Stopped(Exception):
    """Another part has failed, or the caller has cancelled the file."""


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a file, in whole seconds; the last part extends to the end."""

    start: int
    end: int | None

    @property
    def first(self) -> int:
        """Where decoding starts."""
        return max(0, self.start - _EARLY)

    def seconds(self, limit: float) -> float:
        return (self.end + _REPEATED if self.end is not None else limit) - self.first


def divide(seconds: float, count: int) -> list[Part]:
    """Parts of about the same length."""
    starts = [round(number * seconds / count) for number in range(count)]
    return [Part(start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def decode(
    run: Run[File], parts: list[Part], limit: float, progress: Callable[[float], None] | None
) -> list[tuple[Samples, str]] | None:
    """Decode the parts: samples and log of each, without the overlaps; None if they do not match.

    ``limit`` is the limit of the whole file in seconds. Exceptions from ``run`` and ``progress`` propagate.
    """
    if not _repeats(run, parts[1].start):
        return None
    shares, stopped = [0.0] * len(parts), threading.Event()

    def one(number: int, part: Part) -> tuple[File, Samples, str]:
        def note(share: float) -> None:
            if stopped.is_set():
                raise _Stopped
            shares[number] = share

        return run(part.first, part.seconds(limit), note)

    with ThreadPoolExecutor(len(parts), "decoding") as pool:
        futures = [pool.submit(one, number, part) for number, part in enumerate(parts)]
        try:
            _await(futures, lambda: progress(sum(shares) / len(shares)) if progress else None)
        except BaseException:
            stopped.set()
            raise
    found = [future.result() for future in futures]
    return _joined(parts, [(samples, log) for _file, samples, log in found])


def _repeats(run: Run[File], second: int) -> bool:
    """Whether the seconds from ``second`` on are the same when decoded from two different starts."""
    ends = []
    for early in (_EARLY, 2 * _EARLY + 1):
        _file, samples, _log = run(second - early, early + _REPEATED, lambda _share: None)
        ends.append(samples[early * SAMPLE_RATE :])
    return _same(ends[0], ends[1])


def _await(futures: list[Future[tuple[File, Samples, str]]], report: Callable[[], None]) -> None:
    """Wait for all futures; raises the first exception."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=_TICK)
        for future in done:
            future.result()
        report()


def _joined(parts: list[Part], found: list[tuple[Samples, str]]) -> list[tuple[Samples, str]] | None:
    joined = []
    for number, (part, (samples, log)) in enumerate(zip(parts, found, strict=True)):
        own = samples[(part.start - part.first) * SAMPLE_RATE :]
        if part.end is not None:
            length = (part.end - part.start) * SAMPLE_RATE
            repeated = own[length : length + _REPEATED * SAMPLE_RATE]
            after, _log = found[number + 1]
            start = (parts[number + 1].start - parts[number + 1].first) * SAMPLE_RATE
            if not _same(repeated, after[start : start + _REPEATED * SAMPLE_RATE]):
                return None
            own = own[:length]
        joined.append((own, log))
    return joined


def _same(one: Samples, other: Samples) -> bool:
    """Whether two overlaps are equal and conclusive: of full length, and not only silence."""
    whole = len(one) == len(other) == _REPEATED * SAMPLE_RATE
    return whole and bool(one.any()) and np.array_equal(one, other)
