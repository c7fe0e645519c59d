"""Request ID: one for each request, in the response header, the logs and error pages."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from speechportal.accounts.requests import PortalRequest

HEADER = "X-Request-ID"
_SOUND = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """Uses the sender's ``X-Request-ID`` if it is valid, else generates one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.headers.get(HEADER, "")
        request_id = given if _SOUND.fullmatch(given) else uuid.uuid4().hex
        cast("PortalRequest", request).request_id = request_id
        response = self.get_response(request)
        response.headers[HEADER] = request_id
        return response
