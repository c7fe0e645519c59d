"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse

from batches.compat.openai.results import NEVER_AGAIN
from speechportal.api import problems

TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "permission_error",
    404: "invalid_request_error",
    409: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
# The portal's codes that OpenAI has words of its own for.
CODES = {
    "token_missing": "invalid_api_key",
    "token_invalid": "invalid_api_key",
    "token_revoked": "invalid_api_key",
    "token_expired": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "budget_reached": "insufficient_quota",
}
# What does not become better by itself within seconds.
LASTING = {"budget_reached", "batch_paused", "batch_ambiguous", "no_batch", "account_suspended"}


def response(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """The answer to a request that failed with ``error``."""
    handled = problems.handle(error, context)
    document: Any = handled.data
    # A rule that is broken is a wrong request; OpenAI's SDKs would repeat a 409.
    status = {409: 400, 422: 400}.get(handled.status_code, handled.status_code)
    code = document["code"]
    errors = document.get("errors") or [{"field": None, "message": document["detail"]}]
    param = getattr(error, "param", None) or errors[0]["field"] or None
    message = " ".join(": ".join(filter(None, (each["field"], each["message"]))) for each in errors)
    kind = "insufficient_quota" if code == "budget_reached" else TYPES.get(status, "server_error")
    document = {"message": message, "type": kind, "param": param, "code": CODES.get(code, code)}
    answer = JsonResponse({"error": document}, status=status, json_dumps_params={"ensure_ascii": False})
    for name, value in handled.headers.items():
        if name != "Content-Type":
            answer.headers[name] = value
    if code in LASTING:
        for name, value in NEVER_AGAIN.items():
            answer.headers[name] = value
    return answer


def plain(status: int, code: str, message: str, headers: dict[str, str]) -> HttpResponse:
    """An error that no exception stands for."""
    kind = TYPES.get(status, "server_error")
    document = {"message": message, "type": kind, "param": None, "code": code}
    return JsonResponse({"error": document}, status=status, headers=headers)
