"""`ObjectStore`: the interface of every storage backend. Errors: :mod:`speechportal.storage.errors`."""

from __future__ import annotations

import abc
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from speechportal.storage.errors import (
    Changed,
    NotFound,
    StorageError,
    StorageFault,
)

Progress = Callable[[int], None]
OnUnusable = Callable[[str], None]
Method = Literal["get", "put"]
# Makes pre-signed URLs that lead to the portal: key, seconds, method, file name -> URL.
LinkMaker = Callable[[str, int, Method, str | None], str]
CONTENT_TYPE = "application/octet-stream"
CHUNK = 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Folder:
    """Folder in a listing: ``path`` is relative to the root and ends with a slash."""

    path: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """File as the storage reports it; the same from every call.

    ``version`` changes whenever the file is written, even with the same bytes (on S3, where times are in
    seconds, not within the same second).
    """

    key: str
    size: int  # bytes
    version: str
    modified: datetime  # aware, the storage's clock


Entry = Folder | StoredFile


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one step of :meth:`ObjectStore.check`; ``error`` is ``None`` for success."""

    action: str  # list, write, read, move or delete
    label: str | Promise
    error: StorageError | None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def message(self) -> str:
        return str(self.error) if self.error else ""


class ObjectStore(abc.ABC):
    """Bucket or folder, confined to the connection's root.

    Keys and paths are relative to that root and validated (:mod:`speechportal.storage.keys`): any method
    raises :class:`InvalidKey` for an invalid one, and other subclasses of :class:`StorageError` for errors of
    the storage. An error of this machine's own disk (``download``) stays an ``OSError``.
    """

    part_bytes = 1024  # longest part of a key between two slashes, in UTF-8

    @abc.abstractmethod
    def list_level(self, prefix: str, on_unusable: OnUnusable | None = None) -> Iterator[Entry]:
        """Folders and files directly in the folder ``prefix`` (``""`` or with a slash at its end), by name.

        Read page by page while iterating. Names that cannot be keys, temporary files and folder markers
        are left out; ``on_unusable`` is called with each name that cannot be a key (a folder's ends with a
        slash). A local folder that does not exist raises :class:`FolderMissing`; in a bucket it is empty.
        """

    @abc.abstractmethod
    def server_time(self) -> datetime:
        """Current time of the clock behind :attr:`StoredFile.modified`. Aware."""

    @abc.abstractmethod
    def stat(self, key: str) -> StoredFile | None:
        """Return the file, or ``None`` if it does not exist (a missing bucket or root folder raises)."""

    @abc.abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open the file as a stream, to be closed by the caller. Raises :class:`NotFound`."""

    def read_start(self, key: str, size: int) -> bytes:
        """Read the first ``size`` bytes of the file, or all of a shorter one. Raises :class:`NotFound`."""
        with self.open(key) as stream:
            return stream.read(size)

    @abc.abstractmethod
    def download(
        self,
        key: str,
        path: Path,
        *,
        if_version: str | None = None,
        limit: int | None = None,
        on_progress: Progress | None = None,
    ) -> StoredFile:
        """Download the file to ``path`` on this machine: completely and synced to disk, or not at all.

        ``on_progress`` is called with the bytes done so far. Raises :class:`Changed` when the version is not
        ``if_version`` or changes during the download; :class:`NotFound`; :class:`FileTooLarge` above
        ``limit`` bytes, without reading beyond the limit.
        """

    @abc.abstractmethod
    def put(self, key: str, data: bytes | Path, content_type: str = CONTENT_TYPE) -> StoredFile:
        """Write a file, replacing an existing one. Readers see the old or the new file, never a part."""

    @abc.abstractmethod
    def copy(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        """Copy a file inside the storage; returns the target.

        An equal file under ``target`` counts as an earlier copy; another one raises :class:`TargetExists`.
        Raises :class:`Changed` if the source's version is not ``if_version``, and :class:`NotFound`.
        """

    def move(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        """Move a file: copy, verify the target, and delete the source only if it is still the same version.

        Returns the target. Raises :class:`Changed` if the source was replaced meanwhile; the copy of the old
        version then stays under ``target``. Repeating an interrupted move completes it.
        """
        before = self.stat(source)
        if before is None:
            raise NotFound(source)
        if if_version is not None and before.version != if_version:
            raise Changed(source)
        moved = self.copy(source, target, if_version=before.version)
        after = self.stat(source)
        if after is None:
            return moved  # A concurrent move has deleted the source.
        if after.version != before.version:
            raise Changed(source)
        self.delete(source)
        return moved

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """Delete one file. Idempotent."""

    @abc.abstractmethod
    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        """Pre-signed URL that reads or writes this file without credentials for ``expires`` seconds.

        With ``filename`` browsers save the file under that name instead of showing it.
        """

    @abc.abstractmethod
    def create_folder(self, path: str) -> None:
        """Create the folder ``path`` (with a slash at its end), so that listings show it. Idempotent."""

    def check(self, path: str = "") -> list[Finding]:
        """Test all operations of the portal in the folder ``path`` with a small file; stops at an error."""
        name = f"{path}speechportal-check-{secrets.token_hex(6)}"
        first, second, data = (
            f"{name}.txt",
            f"{name}-moved.txt",
            b"Speech Portal checks that it may write here.",
        )

        def read() -> None:
            with self.open(first) as stream:
                if stream.read() != data:
                    raise StorageFault(first)

        def listing() -> None:
            next(iter(self.list_level(path)), None)

        steps: list[tuple[str, str | Promise, Callable[[], object]]] = [
            ("list", _("List files"), listing),
            ("write", _("Write a file"), lambda: self.put(first, data, "text/plain")),
            ("read", _("Read it"), read),
            ("move", _("Move it"), lambda: self.move(first, second)),
            ("delete", _("Delete it"), lambda: self.delete(second)),
        ]
        findings: list[Finding] = []
        for action, label, step in steps:
            try:
                step()
            except StorageError as error:
                findings.append(Finding(action, label, error))
                break
            findings.append(Finding(action, label, None))
        if len(findings) > 1 and not findings[-1].ok:
            self._remove_quietly(first, second)
        return findings

    def _remove_quietly(self, *keys: str) -> None:
        for key in keys:
            try:
                self.delete(key)
            except StorageError:
                return  # The findings already contain the error.
