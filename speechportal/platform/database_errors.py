"""Explanations of database errors for operators: a sentence that says what is wrong, and advice."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, ProgrammingError, connection
from django.db.migrations.executor import MigrationExecutor

_VARIABLE = "SPEECHPORTAL_DATABASE_URL"
_WHY_READ_ONLY = (
    "PostgreSQL takes no changes: it is a standby, or read-only.",
    f"Name the primary server in {_VARIABLE}, or turn off default_transaction_read_only.",
)
_TABLES_WITHOUT_RIGHTS = """
    SELECT relname FROM pg_class
    WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname LIKE 'batches\\_%%'
    AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
             AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    ORDER BY relname LIMIT 1
"""
WRONG_OPTION = r"invalid connection option|invalid \w+ value"
NOT_MIGRATED = r"no such (table|column)|(relation|column) .* does not exist"
READ_ONLY = r"read-only transaction"
NO_RIGHTS = r"permission denied for|must be owner of"
# Faults of an installation that are no OperationalError; the last is a page that PostgreSQL cannot read.
_OF_THE_INSTALLATION = (
    f"{NOT_MIGRATED}|{READ_ONLY}|{NO_RIGHTS}|not a database|malformed|invalid page in block"
)


def explain(error: Exception) -> tuple[str, str]:
    """Sentence and advice for an error of the configured database."""
    return explain_message(str(error), connection.settings_dict)


def explain_in_a_line(error: DatabaseError | InterfaceError) -> str:
    """Explanation of an error that ended a command; empty if the command itself is at fault."""
    wrong_option = isinstance(error, ProgrammingError) and re.search(WRONG_OPTION, str(error))
    if not (wrong_option or is_of_the_installation(error)):
        return ""
    sentence, advice = explain(error)
    return f"{sentence} {advice}"


def is_of_the_installation(error: BaseException) -> bool:
    """Whether an error is a fault of the database or its set-up, rather than of the query or its values."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    return isinstance(error, DatabaseError) and re.search(_OF_THE_INSTALLATION, str(error)) is not None


def read_only() -> tuple[str, str] | None:
    """Sentence and advice if the database can be read and not written; None if it can be written."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            (answer,) = cursor.fetchone()
            if answer == "on":
                return _WHY_READ_ONLY
            cursor.execute(_TABLES_WITHOUT_RIGHTS)
            locked_table = cursor.fetchone()
        return (
            explain_message(f"permission denied for table {locked_table[0]}", connection.settings_dict)
            if locked_table
            else None
        )
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
    if re.search(READ_ONLY, message):
        return _WHY_READ_ONLY
    if re.search(NO_RIGHTS, message):
        return (
            f"The user {given['USER']!r} may not use the portal's tables: {_first_line(message)}.",
            f"Make it their owner (REASSIGN OWNED), or name their owner in {_VARIABLE}.",
        )
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
    if file.is_dir():
        return (
            f"The database {file} is a folder.",
            f"Name a file in {_VARIABLE}, such as {file}/portal.sqlite3.",
        )
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
