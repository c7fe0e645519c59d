"""Helpers for requests and responses: downloads, client address, spreadsheet-safe cells."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import chain
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def download(data: bytes | str, name: str, content_type: str) -> HttpResponse:
    """Response with a file that the browser saves as ``name``, which may have non-ASCII characters."""
    response = HttpResponse(data, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


def csv_download(rows: Iterable[Iterable[object]], name: str) -> StreamingHttpResponse:
    """Stream rows as a CSV file, in UTF-8 with the byte order mark that spreadsheets need.

    The rows are generated after the view returns, when language and time zone are no longer active.
    """
    writer = csv.writer(_Line())
    lines = chain(["\ufeff"], map(writer.writerow, rows))
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response


class _Line:
    """File-like object for ``csv.writer``: ``write`` returns the line."""

    def write(self, text: str) -> str:
        return text


def host_alone(url: str) -> str:
    """Scheme and host of a URL, without the rest, which often contains a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…" if url else ""


def client_address(request: HttpRequest) -> str:
    """IP address of the client.

    Behind the operator's proxy, the last entry of ``X-Forwarded-For``, which that proxy added; a client can
    forge the earlier ones.
    """
    if settings.BEHIND_PROXY and (forwarded := request.headers.get("X-Forwarded-For", "")):
        return forwarded.rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR", ""))


def neutral(text: str) -> str:
    """Escape a CSV cell that spreadsheets would treat as a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
