"""Backups are encrypted, verified and whole; whatever else they are is refused with its sentence."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from speechportal.platform.backup import archive, databases
from speechportal.platform.backup.encrypted_stream import (
    MAGIC,
    BackupUnreadable,
    DecryptingReader,
    EncryptingWriter,
)
from tests import factories

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def encrypted(plain: bytes, passphrase: str = PASSPHRASE) -> bytes:
    file = io.BytesIO()
    with EncryptingWriter(file, passphrase) as writer:
        for start in range(0, len(plain), 1000):
            writer.write(plain[start : start + 1000])
    return file.getvalue()


def decrypted(data: bytes, passphrase: str = PASSPHRASE) -> bytes:
    reader = DecryptingReader(io.BytesIO(data), passphrase)
    parts = []
    while part := reader.read(777):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_what_is_encrypted_comes_back(size: int) -> None:
    plain = os.urandom(size)
    data = encrypted(plain)
    assert decrypted(data) == plain
    assert data.startswith(MAGIC)
    assert size < 16 or plain[:16] not in data


def test_changes_of_any_kind_are_noticed() -> None:
    data = encrypted(os.urandom(200_000))
    head, chunk = len(MAGIC) + 16, (1 << 16) + 16
    chunks = [data[start : start + chunk] for start in range(head, len(data), chunk)]
    assert len(chunks) == 4
    flipped = bytearray(data)
    flipped[head + 70_000] ^= 1
    for changed in (
        bytes(flipped),
        data[:-1],
        data[:head] + b"".join(chunks[:-1]),  # cut off at a chunk's end
        data[:head] + b"".join([chunks[1], chunks[0], *chunks[2:]]),
        data + chunks[-1],
        data[: len(MAGIC)] + bytes(16) + data[head:],
    ):
        with pytest.raises(BackupUnreadable, match="cannot be decrypted"):
            decrypted(changed)
    with pytest.raises(BackupUnreadable, match="cannot be decrypted"):
        decrypted(data, "another")
    for nothing in (b"", MAGIC, b"PK\x03\x04" + data):
        with pytest.raises(BackupUnreadable, match="no backup"):
            decrypted(nothing)


def test_a_passphrase_is_required(settings: Settings, folder: Path) -> None:
    settings.BACKUP_PASSPHRASE = ""
    with pytest.raises(CommandError, match="SPEECHPORTAL_BACKUP_PASSPHRASE"):
        call_command("backup", str(folder / "a.backup"))
    assert list(folder.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_a_backup_holds_everything_and_shows_nothing(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BACKUP_PASSPHRASE = PASSPHRASE
    monkeypatch.setenv("SPEECHPORTAL_TIME_ZONE", "Asia/Seoul")
    monkeypatch.setenv("SPEECHPORTAL_BACKUP_PASSPHRASE", PASSPHRASE)
    factories.make_account("Canary Account")
    target = folder / "portal.backup"
    call_command("backup", str(target))
    assert "read back and whole" in capsys.readouterr().out
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["portal.backup"]
    content = target.read_bytes()
    for secret in (b"Canary", settings.SECRET_KEY.encode(), settings.ENCRYPTION_KEYS[0].encode()):
        assert secret not in content
    with archive.opened(target, PASSPHRASE) as backup:
        assert backup.secrets["ENCRYPTION_KEYS"] == settings.ENCRYPTION_KEYS
        assert backup.variables["SPEECHPORTAL_TIME_ZONE"] == "Asia/Seoul"
        assert "SPEECHPORTAL_BACKUP_PASSPHRASE" not in backup.variables
        databases.check(backup.database)
        assert backup.manifest.migrations > 10
    assert [path.name for path in folder.iterdir()] == ["portal.backup"]

    with pytest.raises(CommandError, match="is there already"):
        call_command("backup", str(target))
    call_command("restore", str(target), "--check", "--settings-to", str(folder / "settings.env"))
    assert "A whole backup of" in capsys.readouterr().out
    lines = (folder / "settings.env").read_text().splitlines()
    assert f"SPEECHPORTAL_SECRET_KEY={settings.SECRET_KEY}" in lines
    assert stat.S_IMODE((folder / "settings.env").stat().st_mode) == 0o600
    with pytest.raises(CommandError, match="not empty"):
        call_command("restore", str(target))
    settings.BACKUP_PASSPHRASE = "another"
    with pytest.raises(CommandError, match="passphrase is another"):
        call_command("restore", str(target), "--check")


@pytest.mark.django_db(transaction=True)
def test_a_copy_that_is_damaged_is_no_backup(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BACKUP_PASSPHRASE = PASSPHRASE
    monkeypatch.setattr(databases, "dump", lambda target: target.write_bytes(b"no database" * 1000))
    with pytest.raises(CommandError, match=r"cannot be read|no tables|pg_restore failed"):
        call_command("backup", str(folder / "a.backup"))
    assert list(folder.iterdir()) == []


@pytest.mark.django_db(transaction=True)
def test_in_a_folder_the_newest_are_kept(settings: Settings, folder: Path) -> None:
    settings.BACKUP_PASSPHRASE = PASSPHRASE
    for day in (1, 2, 3):
        (folder / f"speechportal-2026010{day}-000000.backup").write_text("old")
    (folder / "mine.backup").write_text("not made by the command")
    call_command("backup", str(folder), "--keep", "2")
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 3
    assert names[0] == "mine.backup"
    assert names[1] == "speechportal-20260103-000000.backup"
    with pytest.raises(CommandError, match="needs a folder"):
        call_command("backup", str(folder / "one.backup"), "--keep", "2")
