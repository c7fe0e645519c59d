"""Confined folders: paths below a root, opened part by part without following symbolic links.

A path that is checked and then opened can be swapped in between; a file descriptor cannot. So every part is
opened relative to its parent, and a symbolic link anywhere below the root counts as missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from speechportal.storage.errors import (
    AccessDenied,
    FolderMissing,
    InvalidKey,
    NotFound,
    StorageError,
    StorageFault,
    StorageFull,
    TargetExists,
)

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe must not wait for a writer.
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

KINDS: dict[int, type[StorageError]] = {
    errno.ENOENT: NotFound,
    errno.ELOOP: NotFound,  # A symbolic link.
    errno.ENXIO: NotFound,  # A socket, or a pipe without a reader.
    errno.ENOTDIR: TargetExists,  # A file in place of a folder, or a folder in place of a file.
    errno.EISDIR: TargetExists,
    errno.EEXIST: TargetExists,
    errno.ENOTEMPTY: TargetExists,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EFBIG: StorageFull,
    errno.ENAMETOOLONG: InvalidKey,
    errno.EINVAL: InvalidKey,
    errno.EILSEQ: InvalidKey,
}


@contextlib.contextmanager
def faults(key: str) -> Iterator[None]:
    """Context manager: turns an ``OSError`` about ``key`` into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        kind = KINDS.get(error.errno or 0, StorageFault)
        raise kind(key, answer="" if kind is NotFound else (error.strerror or "")) from error


class Root(NamedTuple):
    """Folder that no path can leave: ``path`` below ``within``, which the operator allows."""

    within: Path
    path: str = ""  # ends with a slash, or is empty

    def __str__(self) -> str:
        return str(self.within / self.path)


@contextlib.contextmanager
def folder(root: Root, path: str, *, create: bool = False) -> Iterator[int]:
    """File descriptor of the folder ``path`` below ``root``; created if missing and ``create``.

    ``root`` itself is never created: a disk that is not mounted must not be mistaken for an empty one.
    Raises :class:`FolderMissing`, with an empty key for the root.
    """
    descriptor = _open_root(root)
    try:
        for part in path.split("/")[:-1]:
            descriptor = _step(descriptor, part, path, create=create)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_root(root: Root) -> int:
    try:
        descriptor = os.open(root.within, FOLDER_FLAGS)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise FolderMissing("", answer=str(root)) from error
        raise
    try:
        for part in root.path.split("/")[:-1]:
            descriptor = _step(descriptor, part, "", create=False)
    except FolderMissing as error:
        os.close(descriptor)
        raise FolderMissing("", answer=str(root)) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _step(above: int, part: str, path: str, *, create: bool) -> int:
    """Open a folder inside an open folder, whose descriptor is then closed unless this fails."""
    below = _open_part(above, part, path, create=create)
    os.close(above)
    return below


def _open_part(above: int, part: str, path: str, *, create: bool) -> int:
    try:
        return os.open(part, FOLDER_FLAGS, dir_fd=above)
    except OSError as error:
        # A symbolic link is reported as ENOTDIR or ELOOP.
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        if not create:
            raise FolderMissing(path) from error
        if error.errno != errno.ENOENT:
            raise TargetExists(path) from error
    with contextlib.suppress(FileExistsError):  # Another process has just created it.
        os.mkdir(part, dir_fd=above)
        os.fsync(above)
    return os.open(part, FOLDER_FLAGS, dir_fd=above)


class Place(NamedTuple):
    """Name in an open folder."""

    above: int
    name: str

    def stat(self) -> os.stat_result | None:
        """Status of the regular file of this name, or ``None`` for anything else."""
        try:
            found = os.stat(self.name, dir_fd=self.above, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def open(self, key: str) -> int:
        """Open the regular file for reading. Raises :class:`NotFound` for anything else."""
        descriptor = os.open(self.name, READ_FLAGS, dir_fd=self.above)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotFound(key)
        return descriptor

    def create(self) -> int:
        """Create a new file and open it for writing."""
        return os.open(self.name, WRITE_FLAGS, 0o666, dir_fd=self.above)

    def link(self, target: Place) -> None:
        """Hard-link the file to ``target``. Never overwrites."""
        os.link(self.name, target.name, src_dir_fd=self.above, dst_dir_fd=target.above, follow_symlinks=False)

    def rename(self, name: str) -> None:
        """Rename the file in its folder, replacing an existing file."""
        os.replace(self.name, name, src_dir_fd=self.above, dst_dir_fd=self.above)

    def remove(self) -> bool:
        """Unlink the name; returns whether it existed."""
        try:
            os.unlink(self.name, dir_fd=self.above)
        except FileNotFoundError:
            return False
        return True

    def sync(self) -> None:
        """Sync the folder's entries to disk."""
        os.fsync(self.above)
