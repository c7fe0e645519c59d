"""Atomic writes of files on this machine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from speechportal.storage.backends.base import CHUNK, Progress, StoredFile
from speechportal.storage.errors import Changed, FileTooLarge, Unreachable

# Prefix of temporary files. Names with it are not listed and cannot be keys.
TEMPORARY = ".speechportal-"


def temporary_name() -> str:
    return f"{TEMPORARY}{secrets.token_hex(8)}.part"


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def require(file: StoredFile, if_version: str | None, limit: int | None) -> None:
    """Raise Changed unless a file to be downloaded has ``if_version``; FileTooLarge above ``limit``."""
    if if_version is not None and file.version != if_version:
        raise Changed(file.key)
    if limit is not None and file.size > limit:
        raise FileTooLarge(file.key, answer=f"{file.size} bytes")


def require_all_of(file: StoredFile, written: int) -> None:
    """Raise Unreachable if a download ended early."""
    if written != file.size:
        raise Unreachable(file.key, answer=f"{written} of {file.size} bytes")


def write_whole(
    path: Path, chunks: Iterable[bytes], verify: Callable[[int], None], on_progress: Progress | None = None
) -> None:
    """Write ``chunks`` to ``path`` atomically: to a temporary file, synced to disk, then renamed.

    ``verify`` gets the number of bytes before the rename, and raises if it is wrong.
    """
    draft = path.with_name(temporary_name())
    written = 0
    try:
        with draft.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                written += len(chunk)
                if on_progress:
                    on_progress(written)
            file.flush()
            os.fsync(file.fileno())
        verify(written)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Sync a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
