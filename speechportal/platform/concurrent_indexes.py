"""Migrations' way to add an index to a table that is large and in use."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex
from django.db.migrations.state import ProjectState


class AddIndexUnderLoad(AddIndex):
    """``AddIndex``, while others go on writing, in a migration that says ``atomic = False``.

    PostgreSQL builds the index CONCURRENTLY; SQLite, where one process writes at a time anyway, as ever. It
    can be repeated: an index that is there is left alone, and what an interrupted build left is built anew.
    """

    atomic = False  # CONCURRENTLY is refused within a transaction.

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            there = self.index.name in connection.introspection.get_constraints(cursor, model._meta.db_table)
        if there and connection.vendor == "postgresql" and not self._is_valid(schema_editor):
            schema_editor.remove_index(model, self.index, **_manner(schema_editor))
            there = False
        if not there:
            schema_editor.add_index(model, self.index, **_manner(schema_editor))

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.remove_index(model, self.index, **_manner(schema_editor))

    def _is_valid(self, schema_editor: BaseDatabaseSchemaEditor) -> bool:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass",
                [schema_editor.quote_name(self.index.name)],
            )
            return bool(cursor.fetchone()[0])


def _manner(schema_editor: BaseDatabaseSchemaEditor) -> dict[str, Any]:
    return {"concurrently": True} if schema_editor.connection.vendor == "postgresql" else {}
