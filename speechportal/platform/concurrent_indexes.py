"""Migration operations that create and drop indexes while a portal of the release before goes on writing.

PostgreSQL builds them ``CONCURRENTLY``, outside a transaction: such a migration has ``atomic = False``. One
that was interrupted leaves an invalid index, which the next attempt drops first. SQLite has one writer.
"""

from __future__ import annotations

from typing import Any

from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.state import ProjectState


def _create(app: str, state: ProjectState, editor: Any, model: str, name: str) -> None:
    table = state.apps.get_model(app, model)
    index = state.models[app, model.lower()].get_index_by_name(name)
    if editor.connection.vendor == "postgresql":
        _drop(editor, name)
        editor.add_index(table, index, concurrently=True)
    else:
        editor.add_index(table, index)


def _drop(editor: Any, name: str) -> None:
    concurrently = "CONCURRENTLY " if editor.connection.vendor == "postgresql" else ""
    editor.execute(f"DROP INDEX {concurrently}IF EXISTS {editor.quote_name(name)}", params=None)


class AddIndexConcurrently(AddIndex):
    """``AddIndex`` that blocks no writer."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        _create(app_label, to_state, schema_editor, self.model_name, self.index.name)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        _drop(schema_editor, self.index.name)


class RemoveIndexConcurrently(RemoveIndex):
    """``RemoveIndex`` that blocks no writer."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        _drop(schema_editor, self.name)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        _create(app_label, to_state, schema_editor, self.model_name, self.name)
