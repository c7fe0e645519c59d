"""Help pages: their order, their files, and their Markdown with generated blocks.

A page is one Markdown file per language. A line ``{{ name | text }}`` is a placeholder: the portal replaces
it by a generated block, and readers of the file elsewhere see the text. ``settings.HELP_BLOCKS`` lists the
functions that generate the blocks (as dotted paths: this package does not import what it documents).
A *family* of pages, one for each file format, comes from one function and one file with placeholders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

from django.conf import settings
from django.utils.functional import Promise
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

FOLDER = settings.BASE_DIR / "templates" / "help"
LANGUAGES: tuple[str, ...] = tuple(code for code, _name in settings.LANGUAGES)
INDEX = "index"
_BLOCK = re.compile(r"^\{\{ (?P<name>[a-z_]+)(?: \| (?P<text>[^}]*))? \}\}$", re.MULTILINE)


class Group(NamedTuple):
    title: str | Promise
    slugs: tuple[str, ...]


# Order of the navigation. ``format-*`` are the pages of all formats.
GROUPS = (
    Group(_("Start"), ("getting-started", "troubleshooting")),
    Group(_("Using the portal"), ("batches", "results", "format-*", "transcripts", "redaction", "accounts")),
    Group(_("For programs"), ("api", "webhooks", "clova", "openai")),
    Group(
        _("Operating it"),
        (
            "running",
            "settings",
            "storages",
            "models",
            "gpu",
            "fleet",
            "growing",
            "backups",
            "upgrading",
            "security",
        ),
    ),
)


@dataclass(frozen=True)
class Page:
    slug: str
    language: str
    markdown: str  # With its blocks filled in.

    @property
    def title(self) -> str:
        """Text of the first heading."""
        first = self.markdown.partition("\n")[0]
        return first.removeprefix("# ").strip()

    @property
    def summary(self) -> str:
        """First paragraph after the title, on one line."""
        paragraphs = [part for part in self.markdown.split("\n\n") if part and not part.startswith("#")]
        return " ".join(paragraphs[0].split()) if paragraphs else ""


def slugs() -> list[str]:
    """Names of all pages but the index, in the order of the navigation."""
    return [slug for group in GROUPS for slug in expand(group)]


def expand(group: Group) -> list[str]:
    found: list[str] = []
    for slug in group.slugs:
        found += [f"format-{name}" for name in format_names()] if slug == "format-*" else [slug]
    return found


def exists(slug: str) -> bool:
    return slug == INDEX or slug in slugs()


def page(slug: str, language: str) -> Page:
    """Return a page in ``language``. Raises KeyError for an unknown page."""
    if language not in LANGUAGES or not exists(slug):
        raise KeyError(slug)
    return _page(slug, language, _modified(slug, language))


def file_of(slug: str, language: str) -> Path:
    return FOLDER / language / ("format.md" if slug.startswith("format-") else f"{slug}.md")


def _modified(slug: str, language: str) -> int:
    """Modification time of a page's file, part of the cache key so that edits show without a restart."""
    return file_of(slug, language).stat().st_mtime_ns


@cache
def _page(slug: str, language: str, _modified: int) -> Page:
    source = file_of(slug, language).read_text(encoding="utf-8")
    with override(language):
        if slug.startswith("format-"):
            source = _filled(source, _format_values(slug.removeprefix("format-")))
        return Page(slug, language, _BLOCK.sub(_block, source))


def _block(match: re.Match[str]) -> str:
    return block(match["name"]).strip()


def block(name: str) -> str:
    """Markdown of a generated block in the active language."""
    function = cast("Callable[[], str]", import_string(settings.HELP_BLOCKS[name]))
    return function()


def format_names() -> list[str]:
    function = cast("Callable[[], list[str]]", import_string(settings.HELP_FORMATS["names"]))
    return function()


def _format_values(name: str) -> Mapping[str, str]:
    function = cast("Callable[[str], Mapping[str, str]]", import_string(settings.HELP_FORMATS["values"]))
    return function(name)


def _filled(source: str, values: Mapping[str, str]) -> str:
    """Fill in placeholders such as ``{{ format.label }}``."""
    return re.sub(r"\{\{ format\.([a-z_]+) \}\}", lambda match: values[match[1]], source)
