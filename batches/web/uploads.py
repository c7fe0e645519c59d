"""Upload endpoints of a batch's page, JSON in and out, used by static/portal/upload.js only.

The browser sends the files straight to the storage, with the presigned URLs that these endpoints return.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from batches.intake import uploads
from batches.intake.input_path import MEDIA_ENDINGS
from batches.models import Batch
from speechportal.accounts.access import manager_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform import content_security
from speechportal.storage.errors import StorageError

P = ParamSpec("P")

PLANNED_AT_ONCE = 100  # files; each needs a request to the storage
MAX_NAME = 900  # as in the API
STEPS = ("create", "part", "list", "complete", "abort")


def _json_view(
    view: Callable[Concatenate[PortalRequest, P], JsonResponse],
) -> Callable[Concatenate[PortalRequest, P], HttpResponse]:
    """View decorator: a validation error becomes 422, a storage error 502, both ``{code, message}``."""

    @wraps(view)
    def answered(request: PortalRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except ValidationError as error:
            first = next(iter(error.error_dict.values()))[0] if hasattr(error, "error_dict") else error
            first = first.error_list[0]
            body = {"code": first.code or "invalid", "message": str(first.messages[0])}
            return JsonResponse(body, status=422)
        except StorageError as error:
            return JsonResponse({"code": error.code, "message": str(error)}, status=502)

    return answered


@manager_required
@require_POST
@_json_view
def plan(request: PortalRequest, uid: str) -> JsonResponse:
    """Check files before their upload.

    ``{files: [{name, size}]}`` -> ``{files: [{name, code, message}]}``, in the same order.
    """
    batch, body = _live_batch(request, uid), _body(request)
    given = body.get("files")
    if not isinstance(given, list) or not 0 < len(given) <= PLANNED_AT_ONCE:
        raise ValidationError(_("Between 1 and %d files can be planned at once.") % PLANNED_AT_ONCE)
    files = [(_name(each), _whole(each, "size")) for each in given]
    planned = uploads.plan(batch=batch, files=files)
    return JsonResponse(
        {"files": [{"name": each.name, "code": each.code, "message": each.message} for each in planned]}
    )


@manager_required
@require_POST
@_json_view
def sign(request: PortalRequest, uid: str) -> JsonResponse:
    """Presign one request to the storage: a step of a multipart upload, or ``put`` for the whole file.

    ``{name, step, upload_id, part_number, replace}`` -> ``{url}``.
    """
    batch, body = _live_batch(request, uid), _body(request)
    name, step, replace = _name(body), body.get("step"), body.get("replace") is True
    if step == "put":
        return JsonResponse({"url": uploads.prepare(batch=batch, name=name, replace=replace).url})
    if step not in STEPS:
        raise ValidationError(_("This is no step of an upload."), code="step_invalid")
    upload_id = body.get("upload_id", "")
    upload = uploads.presign_step(
        batch=batch,
        name=name,
        step=step,
        upload_id=upload_id if isinstance(upload_id, str) else "",
        part_number=_whole(body, "part_number"),
        replace=replace,
    )
    return JsonResponse({"url": upload.url})


@manager_required
@require_POST
@_json_view
def finish(request: PortalRequest, uid: str) -> JsonResponse:
    """Create the task of an uploaded file: ``{name}`` -> ``{task, url}``."""
    batch = _live_batch(request, uid)
    task = uploads.finish(batch=batch, name=_name(_body(request)))
    return JsonResponse({"task": task.uid, "url": reverse("batches:task", args=[batch.uid, task.uid])})


@manager_required
@require_POST
def receive(request: PortalRequest, uid: str) -> HttpResponse:
    """Upload a file through the portal, for browsers without JavaScript; redirects to its task."""
    batch, file = _live_batch(request, uid), request.FILES.get("file")
    if file is None:
        messages.warning(request, _("Choose a file first."))
        return redirect("batches:detail", uid)
    try:
        task = uploads.receive(batch=batch, file=file)
    except (ValidationError, StorageError) as error:
        messages.error(request, error.messages[0] if isinstance(error, ValidationError) else str(error))
        return redirect("batches:detail", uid)
    return redirect("batches:task", uid, task.uid)


def page_context(batch: Batch) -> dict[str, Any]:
    """Context of templates/batches/_upload.html."""
    return {
        "takes_parts": uploads.takes_parts(batch),
        "limit": settings.MAX_MEDIA_BYTES,
        "form_limit": settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        "endings": sorted(MEDIA_ENDINGS),
    }


def allow_uploads(response: HttpResponse, batch: Batch) -> None:
    """Allow the page's script to connect to the batch's storage (Content-Security-Policy)."""
    address = urlsplit(uploads.sample_address(batch))
    content_security.allow_connections(response, f"{address.scheme}://{address.netloc}")


def _live_batch(request: PortalRequest, uid: str) -> Batch:
    live = Batch.objects.for_account(request.account).live().select_related("account", "connection")
    return get_object_or_404(live, uid=uid)


def _body(request: PortalRequest) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ValidationError(_("The request is not a JSON object."), code="not_json")
    return body


def _name(body: object) -> str:
    name = body.get("name") if isinstance(body, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise ValidationError(_("The name of the file is missing or too long."), code="name_invalid")
    return name


def _whole(body: dict[str, Any], field: str) -> int:
    value = body.get(field)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
