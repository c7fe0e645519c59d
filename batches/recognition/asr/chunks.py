"""Chunking: cuts a file into chunks of speech for the recogniser, and maps chunk times to file times.

A chunk is at most ``max_seconds`` of audio: adjacent speech regions with the pauses between them, of which
long ones are shortened, so that the encoder does not spend time on silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from batches.recognition.alignment.coverage import Region, overlap
from batches.recognition.media.decoding import SAMPLE_RATE, Samples

SPEECH_MARGIN = 0.1  # s by which a speech region is extended on either side
# With 28 s the errors of 6 minutes in five groups of recordings rose from 125 to 135 of 1,071, at more time.
MAX_SECONDS = 15.0
KEPT_PAUSE = 1.0  # s kept of a longer pause, half on either side


@dataclass(frozen=True, slots=True)
class Chunk:
    """Chunk: parts of a file, in order, recognised as one. ``pieces`` are in seconds of the file."""

    pieces: tuple[Region, ...]

    @property
    def start(self) -> float:
        return self.pieces[0][0]

    @property
    def end(self) -> float:
        return self.pieces[-1][1]

    @property
    def length(self) -> float:
        """Seconds of audio in the chunk."""
        return sum(end - start for start, end in self.pieces)

    def views(self, samples: Samples) -> list[Samples]:
        """Parts of the chunk, as views of the whole file's samples."""
        return [samples[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)] for start, end in self.pieces]

    def speech(self, regions: Sequence[Region]) -> list[Region]:
        """Parts of the file's speech regions that are in the chunk, in seconds from its start."""
        inside: list[Region] = []
        before = 0.0
        for start, end in self.pieces:
            shift = before - start
            inside += [(a + shift, b + shift) for a, b in overlap(regions, start, end)]
            before += end - start
        return inside

    def to_file(self, seconds: float) -> float:
        """Convert a time in the chunk to a time in the file. Times outside are clipped to the chunk."""
        rest = max(0.0, seconds)
        for start, end in self.pieces:
            if rest <= end - start:
                return start + rest
            rest -= end - start
        return self.end


def split_at_quiet(samples: Samples, regions: Iterable[Region], max_seconds: float) -> list[Region]:
    """Split regions that are too long for one chunk at the quietest tenth of a second in range."""
    parts: list[Region] = []
    for region in regions:
        start, end = region
        while end - start > max_seconds:
            cut = quietest(samples, start + max_seconds * 0.6, start + max_seconds)
            parts.append((start, cut))
            start = cut
        parts.append((start, end))
    return parts


def quietest(samples: Samples, earliest: float, latest: float) -> float:
    """Middle of the quietest tenth of a second between two times, in seconds."""
    half = SAMPLE_RATE // 20
    first = round(earliest * SAMPLE_RATE)
    window = samples[first : round(latest * SAMPLE_RATE)]
    count = len(window) // half
    if count < 2:
        return latest
    halves = window[: count * half].reshape(count, half)
    energy = np.einsum("ij,ij->i", halves, halves)
    return (first + (int(np.argmin(energy[:-1] + energy[1:])) + 1) * half) / SAMPLE_RATE


def make_chunks(samples: Samples, regions: Iterable[Region], max_seconds: float = MAX_SECONDS) -> list[Chunk]:
    """Chunks in order of time that cover all of ``regions``, which are in order and disjoint."""
    chunks: list[Chunk] = []
    pieces: list[Region] = []
    for start, end in split_at_quiet(samples, regions, max_seconds):
        joined = _join(pieces, (start, end))
        if pieces and sum(b - a for a, b in joined) > max_seconds:
            chunks.append(Chunk(tuple(pieces)))
            joined = [(start, end)]
        pieces = joined
    if pieces:
        chunks.append(Chunk(tuple(pieces)))
    return chunks


def _join(pieces: list[Region], region: Region) -> list[Region]:
    """Append a region, with the pause before it or, if that is long, only the ends of the pause."""
    if not pieces:
        return [region]
    *rest, (start, end) = pieces
    if region[0] - end <= KEPT_PAUSE:
        return [*rest, (start, region[1])]
    return [*rest, (start, end + KEPT_PAUSE / 2), (region[0] - KEPT_PAUSE / 2, region[1])]
