"""Content security policy: pages load files of the portal itself, and nothing inline."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"


def policy() -> str:
    # Recordings are played by presigned URLs from the account's own storage, which may have any host.
    media = "'self' https:" if settings.PRODUCTION else "'self' https: http:"
    directives = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "connect-src": "'self'",
        "media-src": media,
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def allow_connections(response: HttpResponseBase, origin: str) -> None:
    """Allow the scripts of one response to connect to ``origin`` as well (``https://storage.example``)."""
    own = "connect-src 'self'"
    response.headers[HEADER] = policy().replace(own, f"{own} {origin}")


class ContentSecurityPolicyMiddleware:
    """Adds the policy to every response without one; the API's documentation page sets its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self.policy = policy()

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault(HEADER, self.policy)
        return response
