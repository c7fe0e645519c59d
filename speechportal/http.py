"""Answers that are files."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils.http import content_disposition_header


def download(data: bytes | str, name: str, content_type: str) -> HttpResponse:
    """A file that the browser saves as ``name``, whatever letters are in it."""
    response = HttpResponse(data, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=name)
    return response
