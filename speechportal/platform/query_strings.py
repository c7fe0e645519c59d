"""Replaces NUL characters in the query strings of pages, since PostgreSQL cannot compare text with them.

Forms reject them by themselves, and the API returns an error.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

NUL, REPLACEMENT = "%00", "%EF%BF%BD"  # U+FFFD, the replacement character


class QueryStringMiddleware:
    """Middleware that replaces NUL characters before anything reads the query string."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        query = request.META.get("QUERY_STRING", "")
        if (NUL in query or "\0" in query) and not request.path.startswith("/api/"):
            request.META["QUERY_STRING"] = query.replace(NUL, REPLACEMENT).replace("\0", REPLACEMENT)
        return self.get_response(request)
