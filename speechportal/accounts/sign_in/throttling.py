"""Throttling of sign-ins: blocks after too many wrong passwords or codes (counted by django-axes)."""

from __future__ import annotations

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def refused(request: HttpRequest, _response: object = None, _credentials: Any = None) -> HttpResponse:
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    response = render(request, "accounts/too_many_tries.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(60 * minutes)
    return response


def address_of(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """E-mail address that attempts are counted by, in lower case.

    After the password it is the signed-in user's.
    """
    given = (credentials or {}).get("username") or request.POST.get("username", "")
    given = given or getattr(getattr(request, "user", None), "email", "")
    return str(given).strip().lower()[:254]


def is_refused(request: HttpRequest) -> bool:
    """Whether the sender has given too many wrong passwords or codes lately."""
    return not AxesProxyHandler.is_allowed(request)


def count_failure(request: HttpRequest) -> None:
    """Count a wrong code toward the same limit as wrong passwords."""
    user_login_failed.send(sender=__name__, credentials={"username": address_of(request)}, request=request)
