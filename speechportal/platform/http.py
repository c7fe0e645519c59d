"""Helpers for requests and responses: downloads, client address, spreadsheet-safe cells."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import content_disposition_header

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def download(data: bytes | str, name: str, content_type: str) -> HttpResponse:
    """Response with a file that the browser saves as ``name``, in any script."""
    response = HttpResponse(data, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


def host_alone(url: str) -> str:
    """Scheme and host of a URL; the rest often contains a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…" if url else ""


def client_address(request: HttpRequest) -> str:
    """Where a request comes from. Behind the operator's proxy, what that proxy saw: the last entry of
    ``X-Forwarded-For``; those before it are whatever the client claims."""
    if settings.BEHIND_PROXY and (forwarded := request.headers.get("X-Forwarded-For", "")):
        return forwarded.rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def neutral(text: str) -> str:
    """Escape a cell that spreadsheets would take for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
