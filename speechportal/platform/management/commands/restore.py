"""Restore a backup into an empty database, with its secrets."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from speechportal.env import PREFIX
from speechportal.platform.backup import archive, databases
from speechportal.platform.backup.archive import SECRETS, Backup
from speechportal.platform.backup.databases import DatabaseNotCopied
from speechportal.platform.backup.encrypted_stream import BackupUnreadable
from speechportal.platform.management.commands.backup import passphrase

# Secret files of the embedded mode, which generates its own secrets, by setting.
_STORED = {
    "SECRET_KEY": "secret_key",
    "ENCRYPTION_KEYS": "encryption_key",
    "API_TOKEN_PEPPERS": "api_token_pepper",
}


class Command(BaseCommand):
    help = __doc__
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("source", type=Path, help="the file that `manage.py backup` wrote")
        parser.add_argument(
            "--check", action="store_true", help="only read it and say what it holds; change nothing"
        )
        parser.add_argument(
            "--settings-to", type=Path, metavar="FILE", help="write the backup's variables and secrets there"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            with archive.opened(options["source"], passphrase()) as backup:
                self._restore(backup, options)
        except (BackupUnreadable, DatabaseNotCopied) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename or options['source']}: {error.strerror}.") from error

    def _restore(self, backup: Backup, options: dict[str, Any]) -> None:
        manifest = backup.manifest
        made = f"{archive.made_at(manifest):%Y-%m-%d %H:%M} UTC"
        if manifest.vendor == connection.vendor:
            databases.check(backup.database)
        self.stdout.write(
            f"A whole backup of {made}: {manifest.vendor}, {manifest.migrations} migrations, "
            f"{len(backup.variables)} variables."
        )
        if options["settings_to"]:
            _write_settings(options["settings_to"], backup)
            self.stdout.write(f"Its settings are in {options['settings_to']}; mind who may read that file.")
        if options["check"]:
            return
        if manifest.vendor != connection.vendor:
            raise CommandError(
                f"The backup is of {manifest.vendor}; SPEECHPORTAL_DATABASE_URL names {connection.vendor}."
            )
        if not databases.is_empty():
            raise CommandError(
                "The database is not empty. Restore into an empty one, with the portal stopped."
            )
        databases.load(backup.database)
        self.stdout.write("The database is restored.")
        self._restore_secrets(backup)
        self.stdout.write("Now run: manage.py migrate, and manage.py doctor")

    def _restore_secrets(self, backup: Backup) -> None:
        """Write the generated secrets to their files; list those that have to be set in the environment."""
        differing = [name for name in SECRETS if backup.secrets[name] != getattr(settings, name)]
        given = [name for name in differing if _is_given(name)]
        for name in differing:
            if name in _STORED and name not in given:
                value = backup.secrets[name]
                _write_private(_stored(name), ",".join(value) if isinstance(value, list) else value)
                self.stdout.write(f"{PREFIX}{name}: restored to {_stored(name)}")
        if given:
            names = ", ".join(f"{PREFIX}{name}" for name in given)
            raise CommandError(
                f"The database is restored, and these settings are not the backup's: {names}. Take them from "
                "the backup (--check --settings-to FILE); otherwise stored credentials and tokens are lost."
            )


def _is_given(name: str) -> bool:
    """Whether the environment sets the setting, which takes precedence over a file in the data folder."""
    return name not in _STORED or any(os.environ.get(f"{PREFIX}{name}{suffix}") for suffix in ("", "_FILE"))


def _stored(name: str) -> Path:
    return Path(settings.DATA_DIR) / "secrets" / _STORED[name]


def _write_settings(target: Path, backup: Backup) -> None:
    secrets = {
        f"{PREFIX}{name}": ",".join(value) if isinstance(value, list) else value
        for name, value in backup.secrets.items()
        if value
    }
    others = {
        name: value for name, value in backup.variables.items() if name.removesuffix("_FILE") not in secrets
    }
    lines = (f"{name}={value}\n" for name, value in sorted({**others, **secrets}.items()))
    _write_private(target, "".join(lines))


def _write_private(target: Path, content: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    part.replace(target)
