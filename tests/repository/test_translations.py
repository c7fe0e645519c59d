"""Translations: every message is translated, and the compiled file is up to date."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.test import RequestFactory

from speechportal.accounts.models import User

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "speechportal" / "locale" / "ko" / "LC_MESSAGES" / "django.po"
Key = tuple[str | None, str]


def texts(entries: polib.POFile | polib.MOFile) -> dict[Key, list[str]]:
    return {
        (entry.msgctxt, entry.msgid): [entry.msgstr, *entry.msgstr_plural.values()]
        for entry in entries
        if not entry.obsolete
    }


def placeholders(text: str) -> set[str]:
    return {word.split(")")[0] for word in text.split("%(")[1:]}


@pytest.mark.programs
def test_every_message_in_the_sources_is_translated(tmp_path: Path) -> None:
    copy = tmp_path / "portal"
    unwanted = shutil.ignore_patterns("__pycache__", "static", "*.pyc", "*.mo")
    for name in ("batches", "domains", "speechportal", "templates"):
        shutil.copytree(ROOT / name, copy / name, ignore=unwanted)
    shutil.copy(ROOT / "manage.py", copy)
    (copy / "speechportal" / "static").mkdir()
    command = [sys.executable, "manage.py", "makemessages", "--locale", "ko", "--no-obsolete"]
    environ = {**os.environ, "SPEECHPORTAL_DATA_DIR": str(tmp_path / "data")}
    subprocess.run(command, cwd=copy, env=environ, check=True, capture_output=True)
    found = polib.pofile(str(copy / CATALOGUE.relative_to(ROOT)))
    missing = [
        f"{entry.msgid!r} ({', '.join(path for path, _ in entry.occurrences[:2])})"
        for entry in found
        if entry.fuzzy or not entry.translated()
    ]
    assert missing == [], "manage.py makemessages -l ko --no-location, translate, manage.py compilemessages"


def test_no_message_is_left_that_nobody_shows() -> None:
    assert [entry.msgid for entry in polib.pofile(str(CATALOGUE)).obsolete_entries()] == []


def test_the_compiled_messages_are_those_that_are_written() -> None:
    written, compiled = (
        polib.pofile(str(CATALOGUE)),
        polib.mofile(str(CATALOGUE.with_suffix(".mo"))),
    )
    assert texts(compiled) == {key: value for key, value in texts(written).items() if any(value)}


def test_translations_fill_in_the_same_values() -> None:
    """A placeholder that is misspelt fails only on the page that shows it."""
    wrong = [
        entry.msgid
        for entry in polib.pofile(str(CATALOGUE))
        for text in [entry.msgstr, *entry.msgstr_plural.values()]
        if text and not placeholders(text) <= placeholders(entry.msgid + entry.msgid_plural)
    ]
    assert wrong == []


def test_every_field_on_an_admin_page_has_a_name_to_translate(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    request.user = User(is_superuser=True, is_staff=True)
    unnamed = [
        f"{model._meta.label}.{field.name}"
        for model, page in admin.site._registry.items()
        if model._meta.app_label not in {"auth", "django_q"}  # Their names are Django's.
        for field in model._meta.fields
        if field.name in flatten_fieldsets(page.get_fieldsets(request, model()))
        and isinstance(field.verbose_name, str)
    ]
    assert unnamed == []
