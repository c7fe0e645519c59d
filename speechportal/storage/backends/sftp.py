"""A folder of an SFTP server as object storage.

The version is size and time of the last write, which SFTP tells in seconds. A file is written under another
name and then renamed, so that readers see the old or the new one. SFTP has no links: the portal reads and
writes for browsers, by signed links of its own. The server is known by its host key, which the connection
names; files behind symbolic links count as not being there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import stat
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paramiko
from storages.backends.sftpstorage import SFTPStorage

from speechportal.outbound import errors as outbound
from speechportal.outbound.transport import Deadline, connect
from speechportal.storage import keys
from speechportal.storage.backends.base import CHUNK, Method, StoredFile
from speechportal.storage.backends.files import TEMPORARY, temporary_name
from speechportal.storage.backends.local import moment
from speechportal.storage.backends.remote import Blob, Level, RemoteStore
from speechportal.storage.backends.s3_errors import from_outbound
from speechportal.storage.endpoints import policy
from speechportal.storage.errors import (
    AccessDenied,
    Changed,
    FolderMissing,
    HostKeyUnknown,
    NotFound,
    StorageError,
    StorageFault,
    StorageFull,
    TargetExists,
    TimedOut,
    Unreachable,
    WrongCredentials,
)

LinkMaker = Callable[[str, int, Method, str | None], str]
CALL_SECONDS = 60.0
SLOWEST_BYTES = 32 * 1024
KEY_TYPES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


@dataclass(frozen=True)
class SftpSettings:
    """Where a folder is, and who asks."""

    host: str
    port: int
    username: str
    host_key: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    root: str = ""  # a path of the server that ends with a slash


class GuardedSftpStorage(SFTPStorage):  # type: ignore[misc] # django-storages ships no types
    """django-storages' SFTP storage over a guarded socket, to a server whose key is known."""

    def __init__(self, given: SftpSettings) -> None:
        super().__init__(host=given.host, params={}, root_path=given.root, known_host_file=None)
        self.given = given
        self.deadline: Deadline | None = None

    def _connect(self) -> None:
        given, self.deadline = self.given, Deadline(CALL_SECONDS)
        plain = connect(given.host, given.port, policy(), self.deadline)
        transport = paramiko.Transport(plain)
        transport.banner_timeout = transport.auth_timeout = transport.handshake_timeout = CALL_SECONDS
        try:
            transport.start_client(timeout=CALL_SECONDS)
            _check_host_key(given.host_key, transport.get_remote_server_key())
            if given.private_key:
                transport.auth_publickey(given.username, read_private_key(given.private_key))
            else:
                transport.auth_password(given.username, given.password)
            self._sftp = paramiko.SFTPClient.from_transport(transport)
            self._sftp.get_channel().settimeout(CALL_SECONDS)
        except BaseException:
            transport.close()
            self.deadline.close()
            raise
        self._ssh = _Open(transport)

    def extend(self, size: int = 0) -> None:
        """Allow another call its time."""
        if self.deadline is not None:
            self.deadline.extend(CALL_SECONDS + size / SLOWEST_BYTES)


class _Open:
    """What django-storages asks of an SSH client."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport

    def get_transport(self) -> paramiko.Transport:
        return self._transport

    def close(self) -> None:
        self._transport.close()


def fingerprint(key: bytes) -> str:
    """As OpenSSH shows it: ``SHA256:…``."""
    return "SHA256:" + b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def _check_host_key(expected: str, found: paramiko.PKey) -> None:
    words = expected.split()
    if fingerprint(found.asbytes()) in words or found.get_base64() in words:
        return
    raise HostKeyUnknown(answer=fingerprint(found.asbytes()))


def read_private_key(text: str) -> paramiko.PKey:
    """A private key in OpenSSH's or PEM format without a passphrase. Raises :class:`WrongCredentials`."""
    for kind in KEY_TYPES:
        try:
            return kind.from_private_key(io.StringIO(text.strip() + "\n"))
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise WrongCredentials


_local = threading.local()


def storage_for(given: SftpSettings) -> GuardedSftpStorage:
    """This thread's connection: SFTP answers one question after the other."""
    known: dict[SftpSettings, GuardedSftpStorage] = _local.__dict__.setdefault("storages", {})
    if given not in known:
        known[given] = GuardedSftpStorage(given)
    return known[given]


class SftpStore(RemoteStore):
    """Files below a folder of the server."""

    part_bytes = 255

    def __init__(self, given: SftpSettings, link_maker: LinkMaker) -> None:
        super().__init__(given.root)
        self._given = given
        self._link_maker = link_maker

    def _sftp(self, size: int = 0) -> Any:
        storage = storage_for(self._given)
        client = storage.sftp
        storage.extend(size)
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
            raise TimedOut(key) from error
        except (paramiko.SSHException, EOFError, ConnectionError) as error:
            storage_for(self._given).close()
            raise Unreachable(key) from error
        except OSError as error:
            raise _from_fault(error, key) from error

    def server_time(self) -> datetime:
        return datetime.now(UTC)  # SFTP does not tell the server's.

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
            self._sftp().stat(self.root or ".")  # A root that is gone must not look like an empty one.
            return None
        except OSError as error:
            if error.errno == errno.ENOTDIR or "not a directory" in str(error).lower():
                return None
            raise
        return _blob(full_key, found) if stat.S_ISREG(found.st_mode or stat.S_IFREG) else None

    def chunks(self, blob: Blob) -> Iterator[bytes]:
        with self._sftp(blob.size).open(blob.full_key, "rb") as file:
            if _blob(blob.full_key, file.stat()).version != blob.version:
                raise Changed(blob.full_key[len(self.root) :])
            file.prefetch(blob.size)
            while chunk := file.read(CHUNK):
                yield chunk

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
        draft = self._draft(full_target, self.chunks(blob), blob.size)
        self._rename(draft, full_target, overwrite=False)

    def move(self, source: str, target: str, *, if_version: str | None = None) -> StoredFile:
        """By a rename, which neither copies nor writes over another file."""
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
                if self.head(before.full_key) is None:  # Another mover was quicker.
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
        """A whole file beside the one that is meant; its name."""
        folder = keys.parent(full_key)
        self._make_folders(folder)
        draft, client = folder + temporary_name(), self._sftp(size)
        try:
            with client.open(draft, "wb") as file:
                file.set_pipelined(True)
                for chunk in chunks:
                    file.write(chunk)
        except BaseException:
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
        """Folders below the root; the root itself is never made."""
        client, path = self._sftp(), self.root
        for part in full_path[len(self.root) :].split("/")[:-1]:
            path += f"{part}/"
            try:
                found = client.lstat(path.rstrip("/"))
            except FileNotFoundError:
                with contextlib.suppress(OSError):  # Another process was quicker; else the next step fails.
                    client.mkdir(path.rstrip("/"))
                continue
            if not stat.S_ISDIR(found.st_mode or 0):
                raise TargetExists(path[len(self.root) :])


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
