"""Pages that refresh a part of themselves: the same address, asked for one fragment of it by htmx."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

HEADER = "HX-Request"


def render_live(request: HttpRequest, page: str, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """The page, or only its moving part when htmx (templates/includes/live.html) asks for that."""
    response = render(request, fragment if request.headers.get(HEADER) else page, context)
    patch_vary_headers(response, [HEADER])
    return response
