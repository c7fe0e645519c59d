"""Copies of the database for backups: made while it is in use, and restored into an empty one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from django.db import connection, connections


class DatabaseNotCopied(Exception):
    """Raised when the database cannot be copied, checked or restored. The message contains no secret."""


def dump(target: Path) -> None:
    """Write a consistent copy of the database to a file. Raises DatabaseNotCopied."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(target)])
        return
    _postgresql("pg_dump", "--format=custom", "--no-owner", f"--file={target}")


def check(copy: Path) -> None:
    """Raise DatabaseNotCopied unless the copy is complete."""
    if connection.vendor != "sqlite":
        listed = _postgresql("pg_restore", "--list", str(copy))
        if "django_migrations" not in listed:
            raise DatabaseNotCopied("The copy of the database holds no tables of the portal.")
        return
    try:
        with sqlite3.connect(f"file:{copy}?mode=ro", uri=True) as database:
            (answer,) = database.execute("PRAGMA integrity_check").fetchone()
            database.execute("SELECT count(*) FROM django_migrations").fetchone()
    except sqlite3.DatabaseError as error:
        raise DatabaseNotCopied(f"The copy of the database cannot be read: {error}.") from error
    if answer != "ok":
        raise DatabaseNotCopied(f"The copy of the database is damaged: {answer}.")


def is_empty() -> bool:
    """Whether the database has no tables."""
    return not connection.introspection.table_names()


def load(copy: Path) -> None:
    """Restore a copy into the database, which must be empty. Raises DatabaseNotCopied."""
    if connection.vendor != "sqlite":
        _postgresql("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", str(copy), to=True)
        return
    connections.close_all()
    place = Path(connection.settings_dict["NAME"])
    for leftover in (f"{place}-wal", f"{place}-shm"):
        Path(leftover).unlink(missing_ok=True)
    arriving = place.with_name(f"{place.name}.restored")
    shutil.copyfile(copy, arriving)
    arriving.chmod(0o600)
    arriving.replace(place)


def _postgresql(program: str, *arguments: str, to: bool = False) -> str:
    """Run a PostgreSQL program on the configured database; its environment contains the password."""
    path = shutil.which(program) or next(
        (str(each) for each in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)), ""
    )
    if not path:
        raise DatabaseNotCopied(f"{program} is not installed: install PostgreSQL's client programs.")
    given: dict[str, Any] = connection.settings_dict
    options = given.get("OPTIONS", {})
    environment = {
        **os.environ,
        "PGHOST": str(given["HOST"]),
        "PGPORT": str(given["PORT"] or 5432),
        "PGUSER": str(given["USER"]),
        "PGPASSWORD": str(given["PASSWORD"]),
        "PGDATABASE": str(given["NAME"]),
        **{f"PG{name.upper()}": str(options[name]) for name in ("sslmode", "sslrootcert") if name in options},
    }
    chosen = [f"--dbname={given['NAME']}"] if to else []
    ran = subprocess.run(
        [path, *chosen, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        lines = ran.stderr.strip().splitlines() or [f"status {ran.returncode}"]
        raise DatabaseNotCopied(f"{program} failed: {lines[-1]}")
    return ran.stdout
