"""Search texts keep Korean syllables as letters, so that words of two syllables are found by the index."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

from django.db import migrations

NO_LAST = "\u11ff"


def _change(apps: Any, schema_editor: Any, respell: Callable[[str], str]) -> None:
    SearchText = apps.get_model("batches", "SearchText")
    rows = SearchText.unscoped.using(schema_editor.connection.alias)
    for row in rows.order_by("pk").iterator(chunk_size=200):
        rows.filter(pk=row.pk).update(text=respell(row.text))


def spell(apps: Any, schema_editor: Any) -> None:
    from batches.search import spell

    _change(apps, schema_editor, spell)


def compose(apps: Any, schema_editor: Any) -> None:
    _change(apps, schema_editor, lambda text: unicodedata.normalize("NFC", text.replace(NO_LAST, "")))


class Migration(migrations.Migration):
    # Row by row, so that no worker waits for it; spelling what is spelt changes nothing.
    atomic = False

    dependencies = [("batches", "0010_newest_of_each")]

    operations = [migrations.RunPython(spell, compose)]
