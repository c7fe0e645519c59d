"""OpenAPI document and its two viewers, served by the portal itself and without inline scripts."""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

# Redoc creates style sheets at run time, and searches in a worker made from a blob.
POLICY = (
    "default-src 'self'; script-src 'self'; worker-src 'self' blob:; style-src 'self' 'nonce-{nonce}';"
    " img-src 'self' data:; font-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


REDOC = "drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js"
# Replacements in Redoc's bundle: its logo is loaded from its maker's server, which the content security
# policy refuses with an error, and its style sheets are created before it knows the nonce.
REDOC_CHANGES = {
    '"https://cdn.redoc.ly/redoc/logo-mini.svg"': '"data:,"',
    "r.nc=void 0": "r.nc=document.currentScript.dataset.nonce",
}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """OpenAPI document of everything below ``/api/``, in English; generated once per process."""
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


@lru_cache(maxsize=1)
def redoc_bundle() -> bytes:
    """Redoc's script from its package, patched with :data:`REDOC_CHANGES`.

    Raises ``LookupError`` if a release of Redoc no longer contains the text to be replaced.
    """
    path = finders.find(REDOC)
    if path is None:
        raise LookupError(f"{REDOC} is not installed")
    script = Path(path).read_text(encoding="utf-8")
    for there, wanted in REDOC_CHANGES.items():
        if script.count(there) != 1:
            raise LookupError(f"Redoc's script has {there} {script.count(there)} times")
        script = script.replace(there, wanted)
    return script.encode()


@require_safe
def redoc_script(_request: HttpRequest) -> HttpResponse:
    response = HttpResponse(redoc_bundle(), content_type="text/javascript; charset=utf-8")
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


@require_safe
def redoc(request: HttpRequest) -> HttpResponse:
    return _page(request, "api/redoc.html")


def _page(request: HttpRequest, template: str) -> HttpResponse:
    nonce = secrets.token_urlsafe(16)
    response = render(request, template, {"nonce": nonce})
    response.headers["Content-Security-Policy"] = POLICY.format(nonce=nonce)
    return response
