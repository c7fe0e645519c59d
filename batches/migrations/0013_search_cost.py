"""Tell PostgreSQL what it costs to look into a search text, so that it asks the index first.

Its planner counts the pages of a table without what is kept beside it (TOAST), and reads all transcripts of
an account rather than use the index of trigrams. A function that does nothing, and says that it costs much, is
how anybody can tell it, without rights over the server.

The index is built while others write. It can be repeated: what an interrupted build left is built anew.
"""

from __future__ import annotations

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION speechportal_looked_into(looked_into text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 5000
    AS 'BEGIN RETURN looked_into; END';
"""
FORMER, PRESENT = "batches_searchtext_trigrams", "batches_searchtext_looked_into"


def _has_trigrams(schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')")
        return cursor.fetchone()[0]


def _replace(schema_editor, old, new, expression):
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {new}")
    if _has_trigrams(schema_editor):
        schema_editor.execute(
            f"CREATE INDEX CONCURRENTLY {new} ON batches_searchtext USING gin ({expression} gin_trgm_ops)"
        )
    schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old}")


def tell(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION)
        _replace(schema_editor, FORMER, PRESENT, "(speechportal_looked_into(text))")


def forget(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        _replace(schema_editor, PRESENT, FORMER, "text")
        schema_editor.execute("DROP FUNCTION speechportal_looked_into(text)")


class Migration(migrations.Migration):
    atomic = False  # CONCURRENTLY is refused within a transaction.

    dependencies = [("batches", "0012_indexes_of_newest")]

    operations = [migrations.RunPython(tell, forget)]
