"""Errors as RFC 9457 problem details: ``application/problem+json`` with a stable ``code``.

``errors`` lists all errors of a request, each with its ``field`` (dotted; empty for the request as a whole),
a ``code`` and a sentence. 400 is a request that cannot be parsed, 422 one whose fields are invalid, 409 one
that the present state does not allow.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import (
    NON_FIELD_ERRORS,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404, JsonResponse, UnreadablePostError
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response

from speechportal.outbound.errors import Busy
from speechportal.platform.request_bodies import BodyTooLarge, BodyTooSlow
from speechportal.storage.errors import FolderMissing, NotFound, StorageBusy, StorageError

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class Problem(exceptions.APIException):
    """Error with its own code: ``raise Problem(409, "task_not_failed", _("…"))``."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.code = code
        self.headers = dict(headers or {})


class InvalidParameters(exceptions.ValidationError):
    """Invalid query parameters."""

    status_code = 400


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """Exception handler for REST framework."""
    request = context["request"]
    if isinstance(error, exceptions.UnsupportedMediaType):
        wanted = context["view"].get_parsers()[0].media_type
        error = exceptions.UnsupportedMediaType("", _("Send the body as “Content-Type: %s”.") % wanted)
    status, headers, document = _describe(error)
    if status == http.HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s failed", request.method, request.path, exc_info=error)
    document["request_id"] = getattr(request, "request_id", "")
    # Rendered as JSON, with another content type.
    return Response(document, status=status, headers=headers, content_type=MEDIA_TYPE)


def not_found(request: Any) -> JsonResponse:
    """Problem response for an address below /api/ that does not exist."""
    document = _document(404, "not_found", _("There is nothing at this address."))
    document["request_id"] = getattr(request, "request_id", "")
    return JsonResponse(document, status=404, content_type=MEDIA_TYPE)


def _describe(error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    if isinstance(error, DjangoValidationError):
        return _of_rule(error)
    if isinstance(error, Http404):
        error = exceptions.NotFound(_("There is no such thing in this account."))
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None, code="role_missing")
    elif isinstance(error, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024**2
        sentence = _("The body has more than %(limit)d MB, which is the limit.") % {"limit": limit}
        error = Problem(413, "body_too_large", sentence)
    elif isinstance(error, UnreadablePostError):
        error = _of_body(error)
    elif isinstance(error, SuspiciousOperation):  # Too many fields or files.
        error = Problem(400, "malformed_body", str(error))
    elif isinstance(error, StorageError | Busy):
        return _of_storage(error)
    if isinstance(error, exceptions.ValidationError):
        return _of_fields(error)
    if isinstance(error, exceptions.APIException):
        return (
            error.status_code,
            _headers(error),
            _document(error.status_code, _code(error), str(error.detail)),
        )
    sentence = _(
        "An unexpected fault of the portal. Try again; if it stays, tell support staff the request ID."
    )
    return 500, {}, _document(500, "internal_error", sentence)


def _of_body(error: UnreadablePostError) -> Problem:
    """Problem for a request body that could not be read completely."""
    if isinstance(error.__cause__, BodyTooLarge):
        return Problem(413, "media_too_large", _("The file is larger than the limit of this portal."))
    status = 408 if isinstance(error.__cause__, BodyTooSlow) else 400
    return Problem(status, "malformed_body", _("The body ended too early, or came too slowly."))


def _of_storage(error: StorageError | Busy) -> tuple[int, dict[str, str], dict[str, Any]]:
    if isinstance(error, StorageBusy | Busy):
        return 503, {"Retry-After": "5"}, _document(503, error.code, str(error))
    status = 404 if isinstance(error, FolderMissing | NotFound) else 502
    return status, {}, _document(status, error.code, str(error))


def _headers(error: exceptions.APIException) -> dict[str, str]:
    headers = dict(getattr(error, "headers", {}))
    if challenge := getattr(error, "auth_header", ""):
        headers["WWW-Authenticate"] = challenge
    return headers


def _code(error: exceptions.APIException) -> str:
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else error.default_code
    return {"error": "invalid_request", "parse_error": "malformed_body"}.get(code, code)


def _of_rule(error: DjangoValidationError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Status, codes and details of a service's refusal: invalid fields, or a conflicting state."""
    found = list(_django_errors(error))
    fields = [each for each in found if each["field"]]
    if fields or not found:
        return 422, {}, _document(422, "validation_failed", _invalid_sentence(found), found)
    first = found[0]
    code = first["code"] if first["code"] != "invalid" else "conflict"
    return 409, {}, _document(409, code, first["message"], found)


def _django_errors(error: DjangoValidationError) -> Iterator[dict[str, str]]:
    if hasattr(error, "error_dict"):
        for name, errors in error.error_dict.items():
            for each in errors:
                for message in each.messages:
                    field = "" if name == NON_FIELD_ERRORS else name
                    yield {"field": field, "code": each.code or "invalid", "message": message}
        return
    for each in error.error_list:
        for message in each.messages:
            yield {"field": "", "code": each.code or "invalid", "message": message}


def _of_fields(error: exceptions.ValidationError) -> tuple[int, dict[str, str], dict[str, Any]]:
    found = list(_field_errors(error.detail, ""))
    if isinstance(error, InvalidParameters):
        return 400, {}, _document(400, "invalid_parameters", _invalid_sentence(found), found)
    return 422, {}, _document(422, "validation_failed", _invalid_sentence(found), found)


def _field_errors(detail: Any, path: str) -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for name, below in detail.items():
            inner = path if name == "non_field_errors" else f"{path}.{name}" if path else str(name)
            yield from _field_errors(below, inner)
    elif isinstance(detail, list | tuple):
        for index, below in enumerate(detail):
            nested = isinstance(below, Mapping | list | tuple)
            yield from _field_errors(below, f"{path}.{index}".lstrip(".") if nested else path)
    else:
        yield {"field": path, "code": getattr(detail, "code", "invalid"), "message": str(detail)}


def _invalid_sentence(found: list[dict[str, str]]) -> str:
    if len(found) == 1:
        return ": ".join(filter(None, (found[0]["field"], found[0]["message"])))
    return _("%(count)d things are wrong with the request; “errors” lists them.") % {"count": len(found)}


def _document(
    status: int, code: str, detail: str, errors: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": f"urn:speechportal:problem:{code}",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if errors:
        document["errors"] = errors
    return document
