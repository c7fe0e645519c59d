"""Error responses in OpenAI's format: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, JsonResponse

from batches.compat.openai.results import NO_RETRY
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
# The portal's error codes that have an equivalent in OpenAI's API.
CODES = {
    "token_missing": "invalid_api_key",
    "token_invalid": "invalid_api_key",
    "token_revoked": "invalid_api_key",
    "token_expired": "invalid_api_key",
    "rate_limited": "rate_limit_exceeded",
    "budget_reached": "insufficient_quota",
}
# Codes of errors that a retry within seconds cannot resolve.
PERMANENT_CODES = {"budget_reached", "batch_paused", "batch_ambiguous", "no_batch", "account_suspended"}


def response(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Exception handler: the error response for ``error``."""
    handled = problems.handle(error, context)
    document: Any = handled.data
    # 409 and 422 become 400, since OpenAI's SDKs would retry a 409.
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
    if code in PERMANENT_CODES:
        for name, value in NO_RETRY.items():
            answer.headers[name] = value
    return answer


def plain(status: int, code: str, message: str, headers: dict[str, str]) -> HttpResponse:
    """Error response for which there is no exception."""
    kind = TYPES.get(status, "server_error")
    document = {"message": message, "type": kind, "param": None, "code": code}
    return JsonResponse({"error": document}, status=status, headers=headers)
