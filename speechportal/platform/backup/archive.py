"""Backup file: a tar archive with database, secrets and settings, encrypted as a whole.

=================  ==========================================================================
``manifest.json``  format, time, database and its last migration, SHA-256 of the other members
``secrets.json``   the settings without which stored credentials and tokens are lost
``settings.env``   the portal's environment variables, without the passphrase
``database``       SQLite's file, or PostgreSQL's custom dump
=================  ==========================================================================
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from speechportal.env import PREFIX
from speechportal.platform.backup import databases
from speechportal.platform.backup.encrypted_stream import BackupUnreadable, DecryptingReader, EncryptingWriter

FORMAT = 1
SECRETS = ("SECRET_KEY", "SECRET_KEY_FALLBACKS", "ENCRYPTION_KEYS", "API_TOKEN_PEPPERS")
_KEPT_OUT = {f"{PREFIX}BACKUP_PASSPHRASE", f"{PREFIX}BACKUP_PASSPHRASE_FILE"}
_MANIFEST, _SECRETS, _SETTINGS, _DATABASE = "manifest.json", "secrets.json", "settings.env", "database"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of a backup: its format, time, database and checksums."""

    format: int
    created_at: str  # ISO 8601, UTC
    vendor: str  # database vendor: "sqlite" or "postgresql"
    migrations: int  # applied, of all apps
    sha256: dict[str, str]  # by member


@dataclass(frozen=True, slots=True)
class Backup:
    """Opened backup; its files are in a folder that is removed afterwards."""

    manifest: Manifest
    secrets: dict[str, Any]
    variables: dict[str, str]
    database: Path


def write(target: Path, passphrase: str) -> Manifest:
    """Write and verify a backup. Raises DatabaseNotCopied, BackupUnreadable and OSError.

    ``target`` appears once the backup is verified; only its owner can read it.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder:
            database = Path(folder) / _DATABASE
            databases.dump(database)
            manifest = _write_archive(part, database, passphrase)
        with opened(part, passphrase) as backup:
            databases.check(backup.database)
            if backup.manifest != manifest:
                raise BackupUnreadable("The backup does not read back as it was written.")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _write_archive(part: Path, database: Path, passphrase: str) -> Manifest:
    small = {
        _SECRETS: json.dumps({name: getattr(settings, name) for name in SECRETS}).encode(),
        _SETTINGS: "".join(f"{name}={value}\n" for name, value in _variables()).encode(),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in small.items()}
    with database.open("rb") as file:
        digests[_DATABASE] = hashlib.file_digest(file, "sha256").hexdigest()
    applied = MigrationRecorder(connection).applied_migrations()
    now = timezone.now().isoformat(timespec="seconds")
    manifest = Manifest(FORMAT, now, connection.vendor, len(applied), digests)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with (
            EncryptingWriter(file, passphrase) as writer,
            tarfile.open(fileobj=cast("IO[bytes]", writer), mode="w|") as archive,
        ):
            for name, content in {_MANIFEST: json.dumps(asdict(manifest)).encode(), **small}.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            archive.add(database, _DATABASE, filter=_anonymous)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _variables() -> Iterator[tuple[str, str]]:
    """Settings of the portal in the environment, as (name, value)."""
    for name, value in sorted(os.environ.items()):
        if name.startswith(PREFIX) and name not in _KEPT_OUT and "\n" not in value:
            yield name, value


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


@contextmanager
def opened(source: Path, passphrase: str) -> Iterator[Backup]:
    """Decrypt a backup into a folder beside it, and compare everything with its SHA-256.

    Raises BackupUnreadable and OSError.
    """
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".backup-") as name:
        folder = Path(name)
        with source.open("rb") as file:
            members = _extract(DecryptingReader(file, passphrase), folder)
        try:
            manifest = Manifest(**json.loads((folder / _MANIFEST).read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise BackupUnreadable("The backup says nothing about itself.") from error
        if manifest.format != FORMAT:
            raise BackupUnreadable(f"The backup is of format {manifest.format}; this release reads {FORMAT}.")
        wrong = [each for each, digest in manifest.sha256.items() if members.get(each) != digest]
        if wrong or set(manifest.sha256) != {_SECRETS, _SETTINGS, _DATABASE}:
            raise BackupUnreadable(f"Parts of the backup are damaged: {', '.join(wrong) or 'missing'}.")
        secrets = json.loads((folder / _SECRETS).read_text())
        lines = (folder / _SETTINGS).read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines)
        yield Backup(manifest, secrets, variables, folder / _DATABASE)


def _extract(reader: DecryptingReader, folder: Path) -> dict[str, str]:
    """Extract the members with known names; returns the SHA-256 of each."""
    digests = {}
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", reader), mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is None or member.name not in {_MANIFEST, _SECRETS, _SETTINGS, _DATABASE}:
                    raise BackupUnreadable(f"The backup holds something unknown: {member.name}.")
                digest = hashlib.sha256()
                with (folder / member.name).open("wb") as file:
                    while block := content.read(_BLOCK):
                        digest.update(block)
                        file.write(block)
                digests[member.name] = digest.hexdigest()
    except tarfile.TarError as error:
        raise BackupUnreadable(f"The backup is damaged: {error}.") from error
    while reader.read(_BLOCK):  # to the end: only then is it certain that nothing was cut off
        pass
    return digests


def made_at(manifest: Manifest) -> datetime:
    return datetime.fromisoformat(manifest.created_at)
