"""`SftpStore`: a folder of an SFTP server as object storage.

The version of a file is its size and the time of the last write, in seconds. A file is written under a
temporary name and then renamed, so that readers see the old or the new one. SFTP has no pre-signed URLs, so
the portal's own lead to the portal, which reads and writes the files. Files behind symbolic links count as
missing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paramiko

from speechportal.outbound import errors as outbound
from speechportal.storage import keys
from speechportal.storage.backends.base import CHUNK, LinkMaker, Method, StoredFile
from speechportal.storage.backends.files import TEMPORARY, temporary_name
from speechportal.storage.backends.local import moment
from speechportal.storage.backends.remote import Blob, Level, RemoteStore
from speechportal.storage.backends.s3_errors import from_outbound
from speechportal.storage.backends.sftp_connection import SftpSettings, storage_for
from speechportal.storage.errors import (
    AccessDenied,
    Changed,
    FolderMissing,
    NotFound,
    StorageError,
    StorageFault,
    StorageFull,
    TargetExists,
    TimedOut,
    Unreachable,
    WrongCredentials,
)

AHEAD = 8 * 1024 * 1024  # bytes to prefetch of a file that is being read


class SftpStore(RemoteStore):
    """Store of the files below a folder of the server."""

    part_bytes = 255

    def __init__(self, given: SftpSettings, link_maker: LinkMaker) -> None:
        super().__init__(given.root)
        self._given = given
        self._link_maker = link_maker

    def _sftp(self, received: int = 0, sent: int = 0) -> Any:
        storage = storage_for(self._given)
        client = storage.sftp
        storage.allow(received, sent)
        return client

    @contextlib.contextmanager
    def faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except outbound.OutboundError as error:
            raise from_outbound(error, key) from error
        except paramiko.AuthenticationException as error:
            raise WrongCredentials(key) from error
        except TimeoutError as error:
            storage_for(self._given).close()  # It may have stopped in the middle of a packet.
            raise TimedOut(key) from error
        except (paramiko.SSHException, paramiko.SFTPError, EOFError, ConnectionError) as error:
            storage = storage_for(self._given)
            storage.close()
            reason = storage.why_closed()
            raise (from_outbound(reason, key) if reason else Unreachable(key)) from error
        except OSError as error:
            raise _from_fault(error, key) from error

    def server_time(self) -> datetime:
        return datetime.now(UTC)  # SFTP has no request for the server's clock.

    def levels(self, full_prefix: str) -> Iterator[Level]:
        try:
            found = self._sftp().listdir_attr(full_prefix or ".")
        except FileNotFoundError as error:
            raise FolderMissing(full_prefix[len(self.root) :], answer=full_prefix) from error
        names = [(each.filename, each) for each in found if not each.filename.startswith(TEMPORARY)]
        yield Level(
            [f"{full_prefix}{name}/" for name, each in names if stat.S_ISDIR(each.st_mode or 0)],
            [
                _blob(full_prefix + name, each)
                for name, each in names
                if stat.S_ISREG(each.st_mode or stat.S_IFREG)
            ],
        )

    def head(self, full_key: str) -> Blob | None:
        try:
            found = self._sftp().lstat(full_key)
        except FileNotFoundError:
            self._sftp().stat(self.root or ".")  # A missing root must not look like an empty one.
            return None
        except OSError as error:
            if error.errno == errno.ENOTDIR or "not a directory" in str(error).lower():
                return None
            raise
        return _blob(full_key, found) if stat.S_ISREG(found.st_mode or stat.S_IFREG) else None

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        return self._chunks(blob, AHEAD)

    def _chunks(self, blob: Blob, ahead: int) -> Iterator[bytes]:
        with self._sftp(blob.size).open(blob.full_key, "rb") as file:
            if _blob(blob.full_key, file.stat()).version != blob.version:
                raise Changed(blob.full_key[len(self.root) :])
            for start in range(0, blob.size, ahead):
                # Prefetched data stays in memory until it is read, so only a part is prefetched.
                file.seek(start)
                file.prefetch(min(start + ahead, blob.size))
                yield from _read(file, min(ahead, blob.size - start))

    def write(self, full_key: str, data: bytes | Path, content_type: str) -> None:
        if full_key.endswith("/"):
            self._make_folders(full_key)
            return
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        stream = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
        with stream:
            draft = self._draft(full_key, iter(lambda: stream.read(CHUNK), b""), size)
        self._rename(draft, full_key, overwrite=True)

    def duplicate(self, blob: Blob, full_target: str) -> None:
        # No data is on its way while the target is written: a server that waits to send does not read.
        draft = self._draft(full_target, self._chunks(blob, CHUNK), blob.size)
        self._rename(draft, full_target, overwrite=False)

    def move(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        """See :class:`ObjectStore`. Moves by a rename, which neither copies nor overwrites."""
        before = self._found(source)
        if if_version is not None and before.version != if_version:
            raise Changed(source)
        if source == target:
            raise TargetExists(target)
        if self._head(target) is not None:
            return super().move(source, target, if_version=if_version)
        full_target = self.full_key(target)
        with self.faults(source):
            self._make_folders(keys.parent(full_target))
            try:
                self._sftp().rename(before.full_key, full_target)
            except OSError:
                if self.head(before.full_key) is None:  # A concurrent move was first.
                    raise NotFound(source) from None
                raise
        moved = self.stat(target)
        if moved is None or moved.version != before.version:
            raise Changed(source)
        return moved

    def remove(self, full_key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.head(full_key) is not None:
                self._sftp().remove(full_key)

    def presign(self, key: str, *, expires: int, method: Method = "get", filename: str | None = None) -> str:
        self.full_key(key)
        return self._link_maker(key, expires, method, filename)

    def create_folder(self, path: str) -> None:
        full_path = keys.check_folder(path, root=self.root)
        with self.faults(path):
            self._make_folders(full_path)

    def _draft(self, full_key: str, chunks: Iterator[bytes], size: int) -> str:
        """Write a temporary file beside the target; returns its name."""
        folder = keys.parent(full_key)
        self._make_folders(folder)
        draft, client = folder + temporary_name(), self._sftp(sent=size)
        try:
            with client.open(draft, "wb") as file:
                offset = 0
                for chunk in chunks:
                    client.write(file, offset, chunk)
                    offset += len(chunk)
        except BaseException as error:
            if isinstance(error, TimeoutError):  # The file is removed over a new connection.
                storage_for(self._given).close()
            self._drop(draft)
            raise
        return draft

    def _rename(self, draft: str, full_key: str, *, overwrite: bool) -> None:
        client = self._sftp()
        try:
            (client.posix_rename if overwrite else client.rename)(draft, full_key)
        except BaseException:
            self._drop(draft)
            raise

    def _drop(self, full_key: str) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._sftp().remove(full_key)

    def _make_folders(self, full_path: str) -> None:
        """Create the missing folders of a path below the root; the root itself is never created."""
        client, path = self._sftp(), self.root
        for part in full_path[len(self.root) :].split("/")[:-1]:
            path += f"{part}/"
            try:
                found = client.lstat(path.rstrip("/"))
            except FileNotFoundError:
                with contextlib.suppress(OSError):  # It may exist; else the next step fails.
                    client.mkdir(path.rstrip("/"))
                continue
            if not stat.S_ISDIR(found.st_mode or 0):
                raise TargetExists(path[len(self.root) :])


def _read(file: paramiko.SFTPFile, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := file.read(min(CHUNK, size))):
        size -= len(chunk)
        yield chunk


def _blob(full_key: str, found: paramiko.SFTPAttributes) -> Blob:
    size, written = found.st_size or 0, int(found.st_mtime or 0)
    return Blob(full_key, size, f"{size}-{written}", moment(written))


_ERRNOS: dict[int, type[StorageError]] = {
    errno.ENOENT: NotFound,
    errno.EACCES: AccessDenied,
    errno.EPERM: AccessDenied,
    errno.EROFS: AccessDenied,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
    errno.EEXIST: TargetExists,
}


def _from_fault(error: OSError, key: str) -> StorageError:
    kind = _ERRNOS.get(error.errno or 0, StorageFault)
    return kind(key, answer="" if kind is NotFound else str(error.strerror or error)[:200])
