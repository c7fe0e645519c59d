"""Append-only triggers: the database refuses every update of an audit entry.

On PostgreSQL it also refuses deletion, except in the transaction that retention has opened. (SQLite cannot
distinguish transactions; there :class:`AuditEntry` itself refuses.)

Installed after every ``migrate``: SQLite drops a table's triggers when a later migration rebuilds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction

TABLE = "accounts_auditentry"

SQLITE = (
    f"DROP TRIGGER IF EXISTS speechportal_audit_append_only; "
    f"CREATE TRIGGER speechportal_audit_append_only BEFORE UPDATE ON {TABLE} "
    f"BEGIN SELECT RAISE(ABORT, 'audit_append_only'); END"
)
POSTGRESQL = f"""
CREATE OR REPLACE FUNCTION speechportal_audit_append_only() RETURNS trigger AS $$
BEGIN
    RAISE EXCEPTION 'audit_append_only' USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_append_only';
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE TRIGGER speechportal_audit_append_only BEFORE UPDATE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION speechportal_audit_append_only();
CREATE OR REPLACE FUNCTION speechportal_audit_retention() RETURNS trigger AS $$
BEGIN
    IF current_setting('speechportal.retention', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION 'audit_append_only'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_append_only';
    END IF;
    RETURN OLD;
END $$ LANGUAGE plpgsql;
CREATE OR REPLACE TRIGGER speechportal_audit_retention BEFORE DELETE ON {TABLE}
    FOR EACH ROW EXECUTE FUNCTION speechportal_audit_retention();
"""


def install_triggers(using: str = "default", **_kwargs: Any) -> None:
    connection = connections[using]
    if TABLE not in connection.introspection.table_names():
        return  # A partial migration: the next one ends with this again.
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for statement in SQLITE.split("; ", 1):
                cursor.execute(statement)
        elif connection.vendor == "postgresql":
            cursor.execute(POSTGRESQL)


@contextmanager
def retention(using: str) -> Iterator[None]:
    """Context manager: allows the deletion of old entries."""
    connection = connections[using]
    with transaction.atomic(using):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL speechportal.retention = 'on'")
        yield
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL speechportal.retention = 'off'")
