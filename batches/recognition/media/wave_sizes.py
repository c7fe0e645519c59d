"""WAV header sizes, which may be placeholders if the file was written to a pipe."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

# Sizes from here on are placeholders (0xFFFFFFFF, 0x7FFFFFFF, 2000000000, ...) in a file that is shorter.
_PLACEHOLDER = 1_900_000_000
_MOST_CHUNKS = 100
_RATE_OFFSET = 8  # of the average bytes per second, in the format chunk


@dataclass(frozen=True, slots=True)
class WaveSize:
    """Size of a WAV file. ``is_known``: the header states the size; ``missing`` is missing audio in ms."""

    is_known: bool
    missing: int


def read(path: Path) -> WaveSize | None:
    """Read the sizes of a WAV file (RIFF; not RF64 or W64, which ffmpeg handles); None for other files."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return None
        total = os.fstat(file.fileno()).st_size
        rate = 0
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                return None
            name, size = struct.unpack("<4sI", head)
            if name == b"data":
                there = total - file.tell()
                if there > 0 and (size == 0 or (size >= _PLACEHOLDER and size > there)):
                    return WaveSize(is_known=False, missing=0)
                return WaveSize(is_known=True, missing=max(0, size - there) * 1000 // rate if rate else 0)
            start = file.tell()
            if name == b"fmt " and size >= 16:
                (rate,) = struct.unpack_from("<I", file.read(16), _RATE_OFFSET)
            file.seek(start + size + size % 2)
    return None
