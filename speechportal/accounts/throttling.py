"""What somebody reads who has given too many wrong passwords (django-axes counts them)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def refused(request: HttpRequest, _response: object = None, _credentials: Any = None) -> HttpResponse:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    response = render(request, "accounts/too_many_tries.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(60 * minutes)
    return response


def address_of(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """Whose sign-in this is, in one spelling: capitals would be another address to count by."""
    given = (credentials or {}).get("username") or request.POST.get("username", "")
    return str(given).strip().lower()[:254]
