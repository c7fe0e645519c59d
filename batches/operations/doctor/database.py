"""Check of the database connection, with the reason of a failure."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from batches.operations.doctor.findings import Finding, bad, counted, good, note
from speechportal.platform.database_errors import explain, newer_migrations, read_only

CONNECT_SECONDS = 3  # timeout for a connection to PostgreSQL


def database() -> Iterator[Finding]:
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(connection.vendor, connection.vendor)
    if connection.vendor == "postgresql" and connection.connection is None:
        connection.settings_dict["OPTIONS"]["connect_timeout"] = str(CONNECT_SECONDS)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        yield bad("database", *explain(error))
        return
    if found := read_only():
        yield bad("database", *found)
    elif pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield bad("database", f"Not applied: {counted(len(pending), 'migration')}.", "Run: manage.py migrate")
    elif newer := newer_migrations(executor):
        yield bad(
            "database",
            f"A newer version of the portal has migrated the database ({newer[0]}); this one may fail on it.",
            "Install that version again, or restore the backup that was made before (help page Upgrade).",
        )
    else:
        yield good("database", f"{name} answers; all migrations are applied.")
    if settings.PRODUCTION and connection.vendor == "sqlite":
        yield note(
            "database", "SQLite serves one machine only.", "Use PostgreSQL before you add another machine."
        )
