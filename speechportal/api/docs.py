"""The OpenAPI document and two ways to read it, from this server alone and without inline scripts."""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

# Redoc writes style sheets at run time, and searches in a worker made from a blob.
POLICY = (
    "default-src 'self'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'nonce-{nonce}';"
    " img-src 'self' data:; font-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Everything below ``/api/``, in English. It follows from the code, so it is made once."""
    with translation.override("en"):
        made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call] # the package ships none here
    return made


@lru_cache(maxsize=1)
def _as_json() -> bytes:
    with translation.override("en"):
        return json.dumps(document(), ensure_ascii=False, default=str).encode()


@require_safe
def openapi(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(_as_json(), content_type="application/json; charset=utf-8")


@require_safe
def swagger(request: HttpRequest) -> HttpResponse:
    return _page(request, "api/swagger.html")


@require_safe
def redoc(request: HttpRequest) -> HttpResponse:
    return _page(request, "api/redoc.html")


def _page(request: HttpRequest, template: str) -> HttpResponse:
    nonce = secrets.token_urlsafe(16)
    response = render(request, template, {"nonce": nonce})
    response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    return response
