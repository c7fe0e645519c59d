"""Tell PostgreSQL what it costs to look into a search text, so that it asks the index first.

Its planner counts the pages of a table without what is kept beside it (TOAST), and reads all transcripts of
an account rather than use the index of trigrams. A function that does nothing, and says that it costs much, is
how anybody can tell it, without rights over the server.
"""

from __future__ import annotations

from django.db import migrations

FUNCTION = """
CREATE OR REPLACE FUNCTION speechportal_looked_into(looked_into text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 5000
    AS 'BEGIN RETURN looked_into; END';
"""
INDEX = """
DROP INDEX IF EXISTS batches_searchtext_trigrams;
DO $$ BEGIN
    CREATE INDEX batches_searchtext_trigrams ON batches_searchtext USING gin ({expression} gin_trgm_ops);
EXCEPTION WHEN undefined_object THEN
    RAISE NOTICE 'pg_trgm is not installed here: searching transcripts reads all of the account''s.';
END $$;
"""


def tell(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FUNCTION)
        schema_editor.execute(INDEX.format(expression="(speechportal_looked_into(text))"))


def forget(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(INDEX.format(expression="text"))
        schema_editor.execute("DROP FUNCTION speechportal_looked_into(text)")


class Migration(migrations.Migration):
    dependencies = [("batches", "0012_indexes_of_newest")]

    operations = [migrations.RunPython(tell, forget)]
