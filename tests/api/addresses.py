"""All URLs of the API, collected from its routes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

OPEN = {"openapi.json", "docs", "redoc", "redoc.js"}  # to be read without a token


def routes(entries: list[Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for entry in entries:
        path = before + str(entry.pattern).removeprefix("^").removesuffix("$").replace("\\", "")
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield path, entry.callback


FOUND = [(path, view) for path, view in routes(get_resolver().url_patterns) if path.startswith("api/v1/")]
VIEWS = [(path, view) for path, view in FOUND if path.removeprefix("api/v1/") not in OPEN]


def filled(path: str, things: Mapping[str, str]) -> str:
    """URL of one object; ``things`` has its ID by the first segment of the path."""
    path = re.sub(r"\(\?P<file_format>[^)]*\)", "json", path)
    kind = path.split("/")[2]
    return "/" + re.sub(r"\(\?P<(uid|id)>.*?\)(?=/|$)", things.get(kind, ""), path)
