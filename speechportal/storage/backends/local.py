"""`LocalStore`: a folder of this machine as object storage."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from speechportal.storage import keys
from speechportal.storage.backends import confined
from speechportal.storage.backends.base import (
    CHUNK,
    CONTENT_TYPE,
    Entry,
    Folder,
    LinkMaker,
    Method,
    ObjectStore,
    OnUnusable,
    Progress,
    StoredFile,
)
from speechportal.storage.backends.confined import Place, Root
from speechportal.storage.backends.files import TEMPORARY, chunks_of, require, temporary_name, write_whole
from speechportal.storage.errors import (
    Changed,
    FolderMissing,
    InvalidKey,
    NotFound,
    StorageFault,
    TargetExists,
)

# Error numbers of file systems without hard links, or without links between these two folders.
NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStore(ObjectStore):
    """Store of the files below ``root``. Symbolic links below it count as missing.

    The version is ``size-modification time-inode``: a file that is written again, even with the same
    bytes and the same time, is another one.
    """

    part_bytes = 255  # limit of Linux file systems

    def __init__(self, root: Root, link_maker: LinkMaker) -> None:
        self.root = root
        self._link_maker = link_maker

    def list_level(self, prefix: str, on_unusable: OnUnusable | None = None) -> Iterator[Entry]:
        keys.check_folder(prefix)
        with confined.faults(prefix), confined.folder(self.root, prefix) as above:
            # All names of one level are in memory, to sort them as S3 does; their details are not.
            for name in sorted(_names(above)):
                if not keys.is_valid_key(prefix + name.removesuffix("/")):
                    if on_unusable:
                        on_unusable(prefix + name)
                elif name.endswith("/"):
                    yield Folder(prefix + name)
                elif (found := Place(above, name).stat()) is not None:
                    yield _stored(prefix + name, found)

    def server_time(self) -> datetime:
        return datetime.now(UTC)

    def stat(self, key: str) -> StoredFile | None:
        with self._at(key) as place:
            found = place.stat() if place else None
            return _stored(key, found) if found else None

    def open(self, key: str) -> BinaryIO:
        return self._open(key)[0]

    def download(
        self,
        key: str,
        path: Path,
        *,
        if_version: str | None = None,
        limit: int | None = None,
        on_progress: Progress | None = None,
    ) -> StoredFile:
        stream, file = self._open(key)
        with stream:
            require(file, if_version, limit)

            def verify(written: int) -> None:
                if written != file.size or _stored(key, os.fstat(stream.fileno())) != file:
                    raise Changed(key)

            write_whole(path, _read(key, stream), verify, on_progress)
        return file

    def put(self, key: str, data: bytes | Path, content_type: str = CONTENT_TYPE) -> StoredFile:
        if isinstance(data, bytes):
            return self._write(key, [data])
        with data.open("rb") as stream:
            return self._write(key, chunks_of(stream))

    def copy(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        stream, file = self._open(source)
        with stream:
            if if_version is not None and file.version != if_version:
                raise Changed(source)
            if (there := self.stat(target)) is not None:
                return self._same_or_raise(stream, there)

            def verify() -> None:
                if _stored(source, os.fstat(stream.fileno())) != file:
                    raise Changed(source)

            return self._write(target, _read(source, stream), overwrite=False, verify=verify)

    def move(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        """See :class:`ObjectStore`. Moves by a hard link, which neither overwrites nor copies."""
        if source == target:
            raise TargetExists(target)
        with self._at(source) as old, self._at(target, create=True) as new:
            before = old.stat() if old else None
            if old is None or new is None or before is None:
                raise NotFound(source)
            if if_version is not None and _version(before) != if_version:
                raise Changed(source)
            try:
                linked = _link(old, new, before)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
            else:
                _verify_link(source, new, before, linked=linked)
                _leave(source, old, new, before, linked=linked)
                return _stored(target, before)
        return super().move(source, target, if_version=if_version)

    def delete(self, key: str) -> None:
        with self._at(key) as place:
            if place and place.stat() and place.remove():
                place.sync()

    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        self._split(key)
        return self._link_maker(key, expires, method, filename)

    def create_folder(self, path: str) -> None:
        keys.check_folder(path)
        if any(part.startswith(TEMPORARY) for part in path.split("/")):
            raise InvalidKey(path)
        with confined.faults(path), confined.folder(self.root, path, create=True):
            pass

    def _split(self, key: str) -> tuple[str, str]:
        keys.check_key(key)
        if any(part.startswith(TEMPORARY) for part in key.split("/")):
            raise InvalidKey(key)
        path = keys.parent(key)
        return path, key[len(path) :]

    @contextlib.contextmanager
    def _at(self, key: str, *, create: bool = False) -> Iterator[Place | None]:
        """Place of ``key``, existing or not; ``None`` if its folder is missing."""
        path, name = self._split(key)
        with contextlib.ExitStack() as stack:
            stack.enter_context(confined.faults(key))
            try:
                above = stack.enter_context(confined.folder(self.root, path, create=create))
            except FolderMissing as error:
                if not error.key:  # The root itself.
                    raise
                yield None
            else:
                yield Place(above, name)

    def _open(self, key: str) -> tuple[BinaryIO, StoredFile]:
        with self._at(key) as place:
            if place is None:
                raise NotFound(key)
            descriptor = place.open(key)
        return os.fdopen(descriptor, "rb"), _stored(key, os.fstat(descriptor))

    def _write(
        self,
        key: str,
        chunks: Iterable[bytes],
        *,
        overwrite: bool = True,
        verify: Callable[[], None] | None = None,
    ) -> StoredFile:
        with self._at(key, create=True) as place:
            if place is None:
                raise FolderMissing(keys.parent(key))
            draft = Place(place.above, temporary_name())
            try:
                with os.fdopen(draft.create(), "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                    written = os.fstat(file.fileno())
                if verify:
                    verify()
                _give_name(draft, place, overwrite=overwrite)
            finally:
                draft.remove()
            place.sync()
            return _stored(key, written)

    def _same_or_raise(self, stream: BinaryIO, there: StoredFile) -> StoredFile:
        other, target = self._open(there.key)
        with other:
            if target.size == os.fstat(stream.fileno()).st_size:
                while (chunk := stream.read(CHUNK)) == other.read(CHUNK):
                    if not chunk:
                        return target
        raise TargetExists(there.key)


def _names(above: int) -> Iterator[str]:
    """Names of files, and of folders with a slash at their end."""
    with os.scandir(above) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(TEMPORARY):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield f"{name}/"
            elif entry.is_file(follow_symlinks=False):
                yield name


def _link(old: Place, new: Place, before: os.stat_result) -> bool:
    """Link the file to its new name. ``False`` if an interrupted move had done so."""
    try:
        old.link(new)
    except FileExistsError:
        there = new.stat()
        if there is None or not os.path.samestat(there, before):
            raise OSError(errno.EXDEV, "compare and copy") from None
        return False
    return True


def _verify_link(key: str, new: Place, before: os.stat_result, *, linked: bool) -> None:
    """Check that the linked file is the expected one: the source may have been replaced just before."""
    found = new.stat()
    if found is None or _version(found) != _version(before):
        if linked:
            new.remove()
        raise Changed(key)
    new.sync()


def _leave(key: str, old: Place, new: Place, before: os.stat_result, *, linked: bool) -> None:
    """Remove the old name, if it still is the name of the file that was linked."""
    after = old.stat()
    if after is not None and _version(after) != _version(before):
        raise Changed(key)
    if old.remove():
        old.sync()
        return
    # A concurrent move was first. If it linked the file to another name, remove our link.
    found = new.stat()
    if linked and found is not None and found.st_nlink > 1:
        new.remove()
        raise NotFound(key)


def _give_name(draft: Place, place: Place, *, overwrite: bool) -> None:
    if overwrite:
        draft.rename(place.name)
        return
    try:
        draft.link(place)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if place.stat() is not None:
            raise FileExistsError(errno.EEXIST, "File exists") from error
        draft.rename(place.name)


def _read(key: str, stream: BinaryIO) -> Iterator[bytes]:
    try:
        yield from chunks_of(stream)
    except OSError as error:  # Not errors of the disk that is written to.
        raise StorageFault(key, answer=error.strerror or "") from error


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def moment(seconds: float) -> datetime:
    """Convert a file's timestamp; one outside the range of ``datetime`` becomes the nearest valid time."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime(9999 if seconds > 0 else 1, 12, 31, tzinfo=UTC)


def _stored(key: str, found: os.stat_result) -> StoredFile:
    modified = moment(found.st_mtime)
    return StoredFile(key=key, size=found.st_size, version=_version(found), modified=modified)
