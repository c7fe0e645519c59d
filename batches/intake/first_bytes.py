"""File signatures: detects media files without a file name extension by their first bytes.

A file without an extension may be a recording or anything else. Once it has settled, its first bytes are
read, once. The result is stored in its ``PendingFile`` row: a file without a media signature is skipped, with
its reason, until it changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from django.utils import timezone

from batches.intake import left_alone
from batches.models import Batch, PendingFile
from speechportal.storage.backends.base import ObjectStore, StoredFile
from speechportal.storage.errors import AccessDenied, NotFound, ObjectError

logger = logging.getLogger(__name__)

READ_BYTES = 1024  # of each file: two packets of a transport stream
MOST_READS = 100  # per poll; further files wait for the next poll
_PACKET = 188  # bytes of a transport stream's packet; cameras put four bytes before each

# Signatures of media files, by byte offset.
_BEGINNINGS: tuple[tuple[int, tuple[bytes, ...]], ...] = (
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),  # MP4, QuickTime, 3GP
    (
        0,
        (
            b"ID3", b"OggS", b"fLaC", b"#!AMR", b"caff", b"FLV\x01", b".snd", b"wvpk", b"MAC ", b"TTA1",
            b"MPCK", b"MP+", b".RMF", b"\x02dss", b"\x03dss", b"\x03ds2",
            b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
            b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMA, WMV
            b"riff\x2e\x91\xcf\x11",  # Wave64
            b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3",  # MPEG programme and video streams
            b"\x0b\x77",  # AC-3
            b"\x06\x0e\x2b\x34",  # MXF
        ),
    ),
)  # fmt: skip
_IN_RIFF = (b"WAVE", b"AVI ", b"RMP3")
_IN_FORM = (b"AIFF", b"AIFC", b"8SVX")


def is_media(data: bytes) -> bool:
    """Whether these first bytes are those of a media format that can be decoded."""
    kind, form = data[:4], data[8:12]
    if kind in {b"RIFF", b"RF64", b"RIFX", b"BW64"}:
        return form in _IN_RIFF
    if kind == b"FORM":
        return form in _IN_FORM
    if any(data.startswith(each, place) for place, beginnings in _BEGINNINGS for each in beginnings):
        return True
    return _is_transport_stream(data) or _is_audio_frame(data)


def _is_transport_stream(data: bytes) -> bool:
    """Whether the data is MPEG-TS: the sync byte at the start of each packet."""
    for offset, step in ((0, _PACKET), (4, _PACKET + 4)):
        places = range(offset, len(data), step)
        if len(places) > 2 and all(data[place] == 0x47 for place in places):
            return True
    return False


def _is_audio_frame(data: bytes) -> bool:
    """Whether the data begins with a valid frame header of MPEG audio (MP3) or of AAC in ADTS."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return False
    if data[1] & 0xF6 == 0xF0:  # ADTS: its layer is always 0
        return (data[2] >> 2) & 0x0F < 13
    version, layer = (data[1] >> 3) & 3, (data[1] >> 1) & 3
    bit_rate, sampling_rate = data[2] >> 4, (data[2] >> 2) & 3
    return version != 1 and layer != 0 and bit_rate not in {0, 15} and sampling_rate != 3


def is_taken(store: ObjectStore, file: StoredFile) -> bool:
    """Whether a complete file may become a task: it has an extension, or a media signature.

    Raises the errors of reading the file.
    """
    return bool(PurePosixPath(file.key).suffix) or is_media(_first_bytes(store, file))


def _first_bytes(store: ObjectStore, file: StoredFile) -> bytes:
    return store.read_start(file.key, READ_BYTES) if file.size else b""


class Reader:
    """Reader of the first bytes of a poll's files, limited to `MOST_READS` reads."""

    def __init__(self, batch: Batch, store: ObjectStore, left: left_alone.LeftAlone) -> None:
        self._batch, self._store, self._left = batch, store, left
        self._reads_left = MOST_READS

    def without_others(self, files: Sequence[StoredFile], known: Callable[[], set[str]]) -> list[StoredFile]:
        """Filter out files that have neither an extension nor a media signature.

        ``known`` returns the keys of files that already have tasks; these are not read. Neither is a file
        that has just arrived, since it may still be growing.
        """
        unnamed = {file.key: file for file in files if not PurePosixPath(file.key).suffix}
        if not unnamed:
            return list(files)
        rows = {
            (row.key, row.version, row.size): row
            for row in PendingFile.unscoped.filter(batch=self._batch, key__in=unnamed)
        }
        have_tasks = known() if rows else set()
        dropped = set()
        for key, file in unnamed.items():
            row = rows.get((key, file.version, file.size))
            if row is None or key in have_tasks:
                continue
            waits = row.is_media is None and not self._look(file, row)
            if waits:
                dropped.add(key)
            elif row.is_media is False:
                dropped.add(key)
                self._left.add(left_alone.CONTENT, key)
        PendingFile.unscoped.filter(batch=self._batch, key__in=dropped).update(seen_at=timezone.now())
        return [file for file in files if file.key not in dropped]

    def _look(self, file: StoredFile, row: PendingFile) -> bool:
        """Read a file's first bytes and store the result; False if that must wait for another poll."""
        if not self._reads_left:
            return False
        self._reads_left -= 1
        try:
            row.is_media = is_media(_first_bytes(self._store, file))
        except NotFound:
            return False
        except (AccessDenied, ObjectError) as error:  # its task will fail with the reason
            logger.info("%s: the first bytes cannot be read: %s", file.key, error.code)
            row.is_media = True
        row.save(update_fields=["is_media"])
        return True
