"""Check of the database: whether it answers, and if not, why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from batches.operations.doctor.findings import Finding, bad, counted, good, note

CONNECT_SECONDS = 3  # that the doctor waits for PostgreSQL
_VARIABLE = "SPEECHPORTAL_DATABASE_URL"


def database() -> Iterator[Finding]:
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(connection.vendor, connection.vendor)
    if connection.vendor == "postgresql" and connection.connection is None:
        connection.settings_dict["OPTIONS"]["connect_timeout"] = str(CONNECT_SECONDS)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        yield bad("database", *_why(str(error), connection.settings_dict))
        return
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield bad("database", f"Not applied: {counted(len(pending), 'migration')}.", "Run: manage.py migrate")
    else:
        yield good("database", f"{name} answers; all migrations are applied.")
    if settings.PRODUCTION and connection.vendor == "sqlite":
        yield note(
            "database", "SQLite serves one machine only.", "Use PostgreSQL before you add another machine."
        )


def _why(message: str, given: dict[str, Any]) -> tuple[str, str]:
    """Sentence and advice for what the database's client library said."""
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
            f"PostgreSQL at {where} did not answer within {CONNECT_SECONDS} seconds.",
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
        return (
            f"The database {file} cannot be opened.",
            f"Create the folder {file.parent}, and let the portal's user write to it.",
        )
    if "locked" in message:
        return (
            f"The database {file} is locked.",
            "End the program that holds it, or wait.",
        )
    return f"SQLite does not read {file}: {_first_line(message)}", "Restore a backup (help page Backups)."


def _first_line(message: str) -> str:
    line = message.strip().splitlines()[0] if message.strip() else "it gives no reason"
    return line.rsplit("FATAL:", 1)[-1].strip()
