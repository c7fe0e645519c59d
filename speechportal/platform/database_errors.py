"""Explanations of database errors for operators: a sentence that says what is wrong, and advice."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor

_VARIABLE = "SPEECHPORTAL_DATABASE_URL"
WRONG_OPTION = r"invalid connection option|invalid \w+ value"
NOT_MIGRATED = r"no such (table|column)|(relation|column) .* does not exist"


def explain(error: Exception) -> tuple[str, str]:
    """Sentence and advice for an error of the configured database."""
    return explain_message(str(error), connection.settings_dict)


def explain_in_a_line(error: DatabaseError | InterfaceError) -> str:
    """Explanation of an error that ended a command; empty if the command itself is at fault."""
    explained = f"{NOT_MIGRATED}|{WRONG_OPTION}"
    is_explained = isinstance(error, ProgrammingError) and re.search(explained, str(error))
    if not (isinstance(error, OperationalError | InterfaceError) or is_explained or _is_damaged(error)):
        return ""
    sentence, advice = explain(error)
    return f"{sentence} {advice}"


def read_only() -> tuple[str, str] | None:
    """Sentence and advice if the database can be read and not written; None if it can be written."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            (answer,) = cursor.fetchone()
        sentence = "PostgreSQL takes no changes: it is a standby, or read-only."
        return (sentence, f"Name the primary server in {_VARIABLE}.") if answer == "on" else None
    file = Path(connection.settings_dict["NAME"])
    files = [file, *(file.with_name(f"{file.name}-{suffix}") for suffix in ("wal", "shm"))]
    locked = [each for each in files if each.exists() and not os.access(each, os.W_OK)]
    return _why_sqlite("readonly", locked[0]) if locked else None


def newer_migrations(executor: MigrationExecutor) -> list[str]:
    """Applied migrations that this version does not have, as ``app.name``: a newer version made them."""
    own, known = executor.loader.migrated_apps, executor.loader.disk_migrations
    replaced = {key for migration in known.values() for key in migration.replaces}
    applied = executor.loader.applied_migrations
    return sorted(
        ".".join(key) for key in applied if key[0] in own and key not in known and key not in replaced
    )


def _is_damaged(error: Exception) -> bool:
    return isinstance(error, DatabaseError) and re.search("not a database|malformed", str(error)) is not None


def explain_message(message: str, given: dict[str, Any]) -> tuple[str, str]:
    """Sentence and advice for an error message of the database's client library."""
    if re.search(NOT_MIGRATED, message):
        return "The database does not have the tables of this version.", "Run: manage.py migrate"
    if re.search(WRONG_OPTION, message):
        return (
            f"{_VARIABLE} has an option that PostgreSQL's client does not know: {_first_line(message)}.",
            "Correct what follows the question mark.",
        )
    if "sqlite" in str(given["ENGINE"]):
        return _why_sqlite(message, Path(given["NAME"]))
    where = f"{given['HOST'] or 'the local socket'}:{given['PORT'] or 5432}"
    user, name = given["USER"], given["NAME"]
    reasons = [
        (
            r"password authentication failed|no password supplied|role .* does not exist",
            f"PostgreSQL at {where} does not accept the user {user!r} with this password.",
            f"Correct user and password in {_VARIABLE}; @ and / in them are written as %40 and %2F.",
        ),
        (
            r"database .* does not exist",
            f"PostgreSQL at {where} has no database {name!r}.",
            f"Create it (createdb {name}), or correct the name at the end of {_VARIABLE}.",
        ),
        (
            r"translate host name|name or service not known|failed to resolve|nodename|name resolution",
            f"The host name {given['HOST']!r} of the database is not known here.",
            f"Correct the host in {_VARIABLE}, or this machine's name resolution.",
        ),
        (
            r"connection refused|no such file or directory",
            f"Nothing accepts connections at {where}.",
            f"Start PostgreSQL there, or correct host and port in {_VARIABLE}.",
        ),
        (
            r"time ?out|timed out",
            f"PostgreSQL at {where} did not answer within {given['OPTIONS']['connect_timeout']} seconds.",
            f"Check the network and firewalls between the machines, and host and port in {_VARIABLE}.",
        ),
        (
            r"pg_hba\.conf|ssl|certificate",
            f"PostgreSQL at {where} refuses connections of this kind: {_first_line(message)}",
            f"Check pg_hba.conf on the server, and sslmode in {_VARIABLE}.",
        ),
        (
            r"too many (clients|connections)|remaining connection slots",
            f"PostgreSQL at {where} has no connection left.",
            "Raise its max_connections, or run fewer processes.",
        ),
    ]
    for pattern, sentence, advice in reasons:
        if re.search(pattern, message, re.IGNORECASE):
            return sentence, advice
    return f"PostgreSQL at {where} does not answer: {_first_line(message)}", f"Check {_VARIABLE}."


def _why_sqlite(message: str, file: Path) -> tuple[str, str]:
    if "readonly" in message or "read-only" in message:
        return f"The database {file} is read-only.", "Let the portal's user write to it and to its folder."
    if "unable to open" in message:
        if file.parent.is_dir():
            return (
                f"The database {file} cannot be opened.",
                f"Let the portal's user write to {file.parent}; its disk must not be mounted read-only.",
            )
        return (
            f"The database {file} cannot be opened.",
            f"Create the folder {file.parent}, and let the portal's user write to it.",
        )
    if "disk is full" in message or "disk I/O error" in message:
        return f"The disk of the database {file} is full or fails.", "Free disk space, or check the disk."
    if "not a database" in message or "malformed" in message:
        return f"{file} is damaged, or is no SQLite database.", "Restore a backup (help page Backups)."
    if "locked" in message:
        return (
            f"The database {file} is locked.",
            "End the program that holds it, or wait.",
        )
    return f"SQLite does not read {file}: {_first_line(message)}", "Restore a backup (help page Backups)."


def _first_line(message: str) -> str:
    line = message.strip().splitlines()[0] if message.strip() else "it gives no reason"
    return line.rsplit("FATAL:", 1)[-1].strip()
