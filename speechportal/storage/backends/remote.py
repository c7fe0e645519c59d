"""`RemoteStore`: base of the object storages other than S3, with clients made by django-storages.

A subclass implements a few calls of its service; the base implements :class:`ObjectStore` with them. A
:class:`Blob` is a file as the service reports it, under its full key.
"""

from __future__ import annotations

import abc
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from speechportal.storage import keys
from speechportal.storage.backends.base import (
    CHUNK,
    CONTENT_TYPE,
    Entry,
    Folder,
    ObjectStore,
    OnUnusable,
    Progress,
    StoredFile,
)
from speechportal.storage.backends.files import require, require_all_of, write_whole
from speechportal.storage.errors import (
    Changed,
    NotFound,
    StorageFault,
    TargetExists,
)


@dataclass(frozen=True, slots=True)
class Blob:
    """File as the service reports it. ``version`` changes with every write."""

    full_key: str
    size: int
    version: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Level:
    """Page of a listing: folders (with a slash at their end) and files, all with full keys."""

    folders: list[str]
    blobs: list[Blob]


class RemoteStore(ObjectStore):
    """Store of the files below ``root``, which is ``""`` or ends with a slash."""

    def __init__(self, root: str) -> None:
        self.root = root

    # --- Calls of the service, for subclasses to implement

    @abc.abstractmethod
    def faults(self, key: str) -> AbstractContextManager[None]:
        """Context manager: turns the client's exceptions about ``key`` into :class:`StorageError`."""

    @abc.abstractmethod
    def levels(self, full_prefix: str) -> Iterator[Level]:
        """List the entries directly in a folder, page by page."""

    @abc.abstractmethod
    def head(self, full_key: str) -> Blob | None:
        """Return the file, or ``None`` if it does not exist."""

    @abc.abstractmethod
    def chunks(self, blob: Blob) -> Iterator[bytes]:
        """Read the bytes of exactly this version."""

    @abc.abstractmethod
    def write(self, full_key: str, data: bytes | Path, content_type: str) -> None:
        """Write a file atomically, replacing an existing one."""

    @abc.abstractmethod
    def duplicate(self, blob: Blob, full_target: str) -> None:
        """Copy exactly this version inside the service, without overwriting."""

    @abc.abstractmethod
    def remove(self, full_key: str) -> None:
        """Delete a file. Idempotent."""

    # --- `ObjectStore`, implemented with these calls

    def list_level(self, prefix: str, on_unusable: OnUnusable | None = None) -> Iterator[Entry]:
        full_prefix = keys.check_folder(prefix, root=self.root)
        pages = self.levels(full_prefix)
        last_folder = ""
        while True:
            with self.faults(prefix):
                page = next(pages, None)
            if page is None:
                return
            found: dict[str, Blob | None] = {blob.full_key: blob for blob in page.blobs}
            found.update((folder, None) for folder in page.folders)
            for full_key in sorted(found):
                key, blob = full_key[len(self.root) :], found[full_key]
                if key in (prefix, last_folder):  # The folder's marker, or already on the previous page.
                    continue
                if blob is None:
                    last_folder = key
                if not (keys.is_valid_folder(key) if blob is None else keys.is_valid_key(key)):
                    if on_unusable:
                        on_unusable(key)
                else:
                    yield Folder(key) if blob is None else self._stored(blob)

    def stat(self, key: str) -> StoredFile | None:
        blob = self._head(key)
        return self._stored(blob) if blob else None

    def open(self, key: str) -> BinaryIO:
        return cast("BinaryIO", io.BufferedReader(_Stream(self, key, self._found(key)), CHUNK))

    def download(
        self,
        key: str,
        path: Path,
        *,
        if_version: str | None = None,
        limit: int | None = None,
        on_progress: Progress | None = None,
    ) -> StoredFile:
        blob = self._found(key)
        file = self._stored(blob)
        require(file, if_version, limit)
        write_whole(path, self._read(key, blob), partial(require_all_of, file), on_progress)
        return file

    def put(self, key: str, data: bytes | Path, content_type: str = CONTENT_TYPE) -> StoredFile:
        full_key = self.full_key(key)
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with self.faults(key):
            self.write(full_key, data, content_type)
        stored = self.stat(key)
        if stored is None or stored.size != size:
            raise StorageFault(key, answer=f"{stored.size if stored else 0} of {size} bytes")
        return stored

    def copy(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        full_target = self.full_key(target)
        before = self._found(source)
        if if_version is not None and before.version != if_version:
            raise Changed(source)
        if source == target:
            raise TargetExists(target)
        if not self._is_copied(source, before, target):
            try:
                with self.faults(source):
                    self.duplicate(before, full_target)
            except TargetExists:  # A concurrent copy was first.
                self._is_copied(source, before, target)
        copied = self.stat(target)
        if copied is None or copied.size != before.size:
            raise StorageFault(target, answer=f"{copied.size if copied else 0} of {before.size} bytes")
        return copied

    def _is_copied(self, source: str, blob: Blob, target: str) -> bool:
        """Whether the target is an earlier copy of the source. Raises TargetExists for any other file."""
        there = self._head(target)
        if there is not None and not self._same(source, blob, target, there):
            raise TargetExists(target)
        return there is not None

    def delete(self, key: str) -> None:
        full_key = self.full_key(key)
        with self.faults(key):
            self.remove(full_key)

    def create_folder(self, path: str) -> None:
        full_path = keys.check_folder(path, root=self.root)
        if path:
            with self.faults(path):
                self.write(full_path, b"", "application/x-directory")

    def full_key(self, key: str) -> str:
        """Return ``root + key``, or raise :class:`InvalidKey` for a key that the service cannot store."""
        return keys.check_key(key, root=self.root)

    def _head(self, key: str) -> Blob | None:
        full_key = self.full_key(key)
        with self.faults(key):
            return self.head(full_key)

    def _found(self, key: str) -> Blob:
        blob = self._head(key)
        if blob is None:
            raise NotFound(key)
        return blob

    def _stored(self, blob: Blob) -> StoredFile:
        return StoredFile(
            key=blob.full_key[len(self.root) :],
            size=blob.size,
            version=blob.version,
            modified=blob.modified,
        )

    def _read(self, key: str, blob: Blob) -> Iterator[bytes]:
        """Read the bytes, converting exceptions of the service, but not those of the consumer."""
        chunks = self.chunks(blob)
        while True:
            with self.faults(key):
                chunk = next(chunks, b"")
            if not chunk:
                return
            yield chunk

    def _same(self, source: str, one: Blob, target: str, other: Blob) -> bool:
        if one.size != other.size:
            return False
        with self.open(source) as left, self.open(target) as right:
            while (chunk := left.read(CHUNK)) == right.read(CHUNK):
                if not chunk:
                    return True
        return False


class _Stream(io.RawIOBase):
    """Sequential stream of a file's bytes. Seeking works forward only, by reading and discarding."""

    def __init__(self, store: RemoteStore, key: str, blob: Blob) -> None:
        self._chunks = store._read(key, blob)  # noqa: SLF001 - one module
        self._rest = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        distance = offset - (self._position if whence == io.SEEK_SET else 0)
        if whence == io.SEEK_END or distance < 0:
            raise io.UnsupportedOperation("only forward")
        buffer = bytearray(min(CHUNK, max(distance, 1)))
        while distance > 0 and (size := self.readinto(memoryview(buffer)[: min(len(buffer), distance)])):
            distance -= size
        return self._position

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._position += size
        return size
