"""Input path listing: which files below the input path are possible inputs, and which a poll skips."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from batches.intake import left_alone
from batches.models import Batch, ProcessedFolder
from speechportal.storage.backends.base import Folder, ObjectStore, StoredFile
from speechportal.storage.errors import AccessDenied, FolderMissing, InvalidKey, TimedOut

MAX_DEPTH = 50
UNREADABLE = (AccessDenied, FolderMissing, InvalidKey)  # of a folder below the input path

# File name extensions of media, including those of telephones, cameras and dictation machines. What a file
# really contains is known only after decoding.
MEDIA_ENDINGS = frozenset(
    [
        ".mp3", ".aac", ".ac3", ".ogg", ".oga", ".flac", ".wav", ".m4a", ".avi", ".mp4", ".mov",
        ".wmv", ".flv", ".mkv", ".opus", ".webm", ".amr", ".wma", ".aif", ".aiff", ".aifc", ".mpeg",
        ".mpg", ".mp2", ".mpga", ".ts", ".m2ts", ".3gp", ".m4v", ".m4b", ".caf", ".mts", ".m2t",
        ".mka", ".3g2", ".asf", ".ogv", ".f4v", ".f4a", ".vob", ".w64", ".rf64", ".au", ".snd",
        ".eac3", ".weba", ".spx", ".dss", ".gsm", ".awb", ".wv", ".mxf",
    ]
)  # fmt: skip


def is_media(key: str) -> bool:
    """Whether a key may be that of a media file: its extension is a known one, or it has none."""
    ending = PurePosixPath(key).suffix.lower()
    return ending in MEDIA_ENDINGS or not ending


def reason_to_leave(key: str) -> str:
    """Reason to skip a file; empty for a possible input."""
    if left_alone.is_housekeeping(key):
        return left_alone.HOUSEKEEPING
    return "" if is_media(key) else left_alone.ENDING


def is_watched(batch: Batch, key: str) -> bool:
    """Whether a poll would consider a file with this key."""
    below = key.removeprefix(batch.input_path)
    aside = any(folder and key.startswith(folder) for folder in folders_to_skip(batch) - {batch.input_path})
    inside = key.startswith(batch.input_path) and below.count("/") < MAX_DEPTH
    return inside and not aside and is_media(key) and not left_alone.is_housekeeping_below(below)


def folders_to_skip(batch: Batch) -> set[str]:
    """Folders below the input path that contain the batch's output: finished inputs and result files."""
    folders = ProcessedFolder.unscoped.filter(
        connection=batch.connection_id, path__startswith=batch.input_path
    ).exclude(path=batch.input_path)
    return {batch.folder, batch.result_path, *folders.values_list("path", flat=True)}


def walk(
    store: ObjectStore, path: str, skipped: set[str], left: left_alone.LeftAlone | None = None
) -> Iterator[StoredFile]:
    """Yield media files below ``path``, level by level, without the folders in ``skipped``.

    ``left`` collects what is skipped, including folders below ``path`` that cannot be read.
    """
    left = left or left_alone.LeftAlone()
    level = [path]
    for _depth in range(MAX_DEPTH):
        below: list[str] = []
        for folder in level:
            yield from _walk_level(store, folder, skipped, left, below, is_top=folder == path)
        if not below:
            return
        level = below
    for folder in level:
        left.add(left_alone.NAME, folder)


def _walk_level(
    store: ObjectStore,
    folder: str,
    skipped: set[str],
    left: left_alone.LeftAlone,
    below: list[str],
    *,
    is_top: bool,
) -> Iterator[StoredFile]:
    def unusable(name: str) -> None:
        if name.endswith("/") or is_media(name):
            left.add(left_alone.NAME, name)

    try:
        for entry in store.list_level(folder, unusable):
            if isinstance(entry, Folder):
                if left_alone.is_housekeeping(entry.path):
                    left.add(left_alone.HOUSEKEEPING, entry.path)
                elif entry.path not in skipped:
                    below.append(entry.path)
            elif reason := reason_to_leave(entry.key):
                left.add(reason, entry.key)
            else:
                yield entry
    except UNREADABLE:
        if is_top:
            raise
        left.add(left_alone.UNREADABLE, folder)


def within_time(files: Iterable[StoredFile], seconds: float) -> Iterator[StoredFile]:
    """Yield the same files. Raises TimedOut once the listing has taken ``seconds`` in total."""
    end = time.monotonic() + seconds
    for file in files:
        if time.monotonic() > end:
            raise TimedOut(file.key)
        yield file
