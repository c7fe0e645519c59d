"""The database's own refusal to change an audit entry, whatever path an update takes.

Installed after every ``migrate``: SQLite drops a table's triggers when a later migration rebuilds it.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

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
