"""Write database, secrets and settings to one encrypted file, and read it back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from speechportal.platform.backup import archive
from speechportal.platform.backup.databases import DatabaseNotCopied
from speechportal.platform.backup.encrypted_stream import BackupUnreadable

_NAME = "speechportal-{:%Y%m%d-%H%M%S}.backup"


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "target", type=Path, help="the file to write, or a folder for a file named for the time"
        )
        parser.add_argument(
            "--keep",
            type=int,
            default=0,
            metavar="N",
            help="leave the N newest backups in the folder and remove the others",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        target: Path = options["target"]
        folder = target if target.is_dir() else target.parent
        if target.is_dir():
            target = folder / _NAME.format(timezone.now())
        elif options["keep"]:
            raise CommandError("--keep needs a folder as the target.")
        if target.exists():
            raise CommandError(f"{target} is there already.")
        try:
            manifest = archive.write(target, passphrase())
        except (DatabaseNotCopied, BackupUnreadable) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{target} cannot be written: {error.strerror}.") from error
        size = target.stat().st_size / 1e6
        held = f"{manifest.vendor}, {manifest.migrations} migrations"
        self.stdout.write(f"{target}: {size:.1f} MB, {held}; read back and whole.")
        if options["keep"]:
            for old in sorted(folder.glob("speechportal-*.backup"))[: -options["keep"]]:
                old.unlink()
                self.stdout.write(f"{old}: removed")


def passphrase() -> str:
    """Return the configured passphrase. Raises CommandError if none is set."""
    if not settings.BACKUP_PASSPHRASE:
        raise CommandError(
            "Set SPEECHPORTAL_BACKUP_PASSPHRASE (or _FILE) to a long passphrase, and keep it elsewhere too."
        )
    return str(settings.BACKUP_PASSPHRASE)
