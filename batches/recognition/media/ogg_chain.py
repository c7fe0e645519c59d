"""Ogg chains: finds the links (chained logical streams) of a file (RFC 3533, section 4).

ffmpeg stops at a link with another number of channels or sample rate, so each link is decoded by itself.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

_HEAD = 27  # bytes of a page's header before its table of segments
_FIRST_PAGE = 2  # the flag of a stream's first page
MOST_LINKS = 1000


def links(path: Path) -> list[tuple[int, int]]:
    """Byte ranges of an Ogg file's links, in order; empty if it has only one, or is not an Ogg file."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return []
        starts = _starts(file)
        size = os.fstat(file.fileno()).st_size
    if not 1 < len(starts) <= MOST_LINKS:
        return []
    return list(zip(starts, [*starts[1:], size], strict=True))


def _starts(file: IO[bytes]) -> list[int]:
    """Start offset of each link: the first of its streams' first pages, which are adjacent."""
    starts = [0]
    position, in_header = 0, True
    while len(starts) <= MOST_LINKS:
        file.seek(position)
        head = file.read(_HEAD)
        if len(head) < _HEAD or not head.startswith(b"OggS"):
            break
        if head[5] & _FIRST_PAGE:
            if not in_header:
                starts.append(position)
            in_header = True
        else:
            in_header = False
        segments = file.read(head[26])
        position += _HEAD + len(segments) + sum(segments)
    return starts
