"""The index for searching transcripts on PostgreSQL: trigrams over each transcript's folded text.

PostgreSQL's planner counts the pages of a table without its out-of-line values (TOAST), and so reads all
transcripts of an account rather than use the trigram index. ``speechportal_search_text`` returns its argument
and declares a high cost, which makes the planner prefer the index; it needs no rights over the server.
Without the extension ``pg_trgm`` searches find the same, only slower.
"""

from __future__ import annotations

from django.db import migrations

FORWARDS = """
CREATE OR REPLACE FUNCTION speechportal_search_text(searched text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 5000
    AS 'BEGIN RETURN searched; END';
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX IF NOT EXISTS batches_searchtext_trigrams
        ON batches_searchtext USING gin ((speechportal_search_text(text)) gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
    RAISE NOTICE 'pg_trgm may not be installed here: a search reads all transcripts of the account.';
END $$;
"""
BACKWARDS = """
DROP INDEX IF EXISTS batches_searchtext_trigrams;
DROP FUNCTION IF EXISTS speechportal_search_text(text);
"""


def create_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FORWARDS)


def drop_index(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(BACKWARDS)


class Migration(migrations.Migration):
    dependencies = [("batches", "0001_initial")]

    operations = [migrations.RunPython(create_index, drop_index)]
