"""Fragments: parts of pages that htmx refreshes from the page's own URL."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

HEADER = "HX-Request"


def render_live(request: HttpRequest, page: str, fragment: str, context: dict[str, Any]) -> HttpResponse:
    """Render the page, or only its live fragment for a request of htmx (templates/includes/live.html)."""
    response = render(request, fragment if request.headers.get(HEADER) else page, context)
    patch_vary_headers(response, [HEADER])
    return response
