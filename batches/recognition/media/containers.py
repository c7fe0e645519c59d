"""Container checks that ffmpeg lacks: detects encrypted audio and truncated files.

Sources: ISO/IEC 14496-12 and 23001-7 (MP4 boxes and their common encryption), RFC 3533 (Ogg pages),
Microsoft's Advanced Systems Format specification (the file properties object).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO

_MOST_INDEX = 32 << 20  # bytes of an MP4's index that are read
_MOST_BOXES = 1000
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER = 64 << 10
_ASF_IS_BROADCAST = 1  # the sizes in the header mean nothing


def sound_is_encrypted(path: Path) -> bool:
    """Whether an MP4's audio has common encryption (CENC), which ffmpeg decodes to noise."""
    with path.open("rb") as file:
        index = _mp4_index(file)
    # The sample entry of encrypted sound is named "enca", and says in a "sinf" how it is protected.
    start = index.find(b"enca")
    return start >= 0 and index.find(b"sinf", start) >= 0


def _mp4_index(file: IO[bytes]) -> bytes:
    """Content of the "moov" box; empty if there is none."""
    for number in range(_MOST_BOXES):
        head = file.read(16)
        if len(head) < 8 or (number == 0 and head[4:8] not in {b"ftyp", b"moov", b"mdat", b"free", b"wide"}):
            return b""
        size, kind = struct.unpack(">I4s", head[:8])
        if kind == b"moov":
            return head[8:] + file.read(min(size, _MOST_INDEX))
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack(">Q", head[8:])
        if size < 8:
            return b""  # the box goes on to the end of the file
        file.seek(size - len(head), os.SEEK_CUR)
    return b""


def ends_early(path: Path) -> bool:
    """Whether an Ogg or ASF (WMA, WMV) file is shorter than its own headers say."""
    with path.open("rb") as file:
        head = file.read(_ASF_HEADER)
        if head.startswith(b"OggS"):
            return _ogg_ends_early(file)
        return head.startswith(b"0&\xb2u") and _asf_ends_early(head, os.fstat(file.fileno()).st_size)


def _ogg_ends_early(file: IO[bytes]) -> bool:
    """Whether the last page is incomplete."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - _OGG_PAGE))
    rest = file.read()
    page = rest[rest.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _asf_ends_early(head: bytes, size: int) -> bool:
    start = head.find(_ASF_PROPERTIES)
    # The object's id and size, the file's id and size, its date, packets, play and send time, preroll, flags.
    if start < 0 or len(head) < start + 92:
        return False
    (expected,) = struct.unpack_from("<Q", head, start + 40)
    (flags,) = struct.unpack_from("<I", head, start + 88)
    return not flags & _ASF_IS_BROADCAST and size < expected
