"""Views of the OpenAI-compatible transcription API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from batches.compat import intake
from batches.compat.headers import IGNORED_HEADER, ascii_list
from batches.compat.openai import errors, parameters
from batches.compat.openai.parameters import Refused, Transcription
from batches.compat.openai.results import NO_RETRY, TASK_HEADER, Result
from batches.compat.openai.stream import HeldStream
from batches.compat.waiting import HeldTask
from batches.models import Batch, ClientRequest, Task
from domains import offered_models
from speechportal.api.authentication import rate_headers, token_of
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.platform.held_responses import hold

BATCH_HEADER = "OpenAI-Project"
RETRY_HEADER = "x-stainless-retry-count"
SAME_REQUEST = timedelta(days=1)
CREATED = 1_700_000_000  # Placeholder: SDKs require a number.


class OpenAiView(APIView):
    """Base of the OpenAI views. Errors have OpenAI's format; tokens, scopes and limits are the portal's."""

    request: ApiRequest
    area = "tasks"
    schema = None  # Described by OpenAI's own documentation.

    def get_exception_handler(self) -> Any:
        return errors.response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        token = token_of(request)
        for name, value in rate_headers(token).items() if token else ():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def problem(self, error: Exception) -> HttpResponse:
        return errors.response(error, {"request": self.request, "view": self})


class Transcriptions(OpenAiView):
    """``POST audio/transcriptions``: recognise a file as a task of a batch; return its transcript."""

    parser_classes = [MultiPartParser, FormParser]

    def post(self, request: Request, batch: str = "") -> HttpResponseBase:
        chosen = intake.batch_named(self.request.account, batch or request.headers.get(BATCH_HEADER, ""))
        parts: Any = request.data
        media = parts.get("file")
        if not isinstance(media, UploadedFile):
            raise Refused("file", "missing_required_parameter", _("Send the file as the part “file”."))
        wanted = parameters.read(_texts(parts), chosen)
        task = self._task(chosen, wanted, media)
        held = self._held(task, wanted)
        response = hold(request._request, held)  # noqa: SLF001 - REST framework has no public name
        response.headers[TASK_HEADER] = task.uid
        if wanted.ignored:
            response.headers[IGNORED_HEADER] = ascii_list(wanted.ignored)
        return response

    def _held(self, task: Task, wanted: Transcription) -> HeldTask:
        if wanted.stream:
            return HeldStream(
                seconds=settings.SYNC_SECONDS,
                start=lambda: task,
                is_diarized=wanted.response_format == parameters.DIARIZED,
                problem=self._stream_problem,
                late=_late,
            )
        return HeldTask(
            seconds=settings.SYNC_SECONDS,
            start=lambda: task,
            answer=_answered,
            problem=self.problem,
            late=_late,
        )

    def _task(self, batch: Batch, wanted: Transcription, media: UploadedFile[bytes]) -> Task:
        """Create a task; for an SDK's retry, return the task that the first request created."""
        with intake.spooled(media) as path:
            fingerprint = _fingerprint(self.request, batch, wanted, path)
            if self.request.headers.get(RETRY_HEADER, "0") != "0":
                earlier = ClientRequest.objects.for_account(self.request.account).filter(
                    fingerprint=fingerprint, created_at__gte=timezone.now() - SAME_REQUEST
                )
                if (found := earlier.select_related("task").order_by("-pk").first()) is not None:
                    return found.task
            options = intake.RequestOptions(
                interface=ClientRequest.Interface.OPENAI,
                overrides=wanted.overrides,
                answer=wanted.answer,
                ignored=wanted.ignored,
                fingerprint=fingerprint,
            )
            return intake.take_file(batch, options, media.name or "audio", path)

    def _stream_problem(self, error: Exception) -> HttpResponse:
        """Error as the last event of a stream, whose status 200 has already been sent."""
        response = self.problem(error)
        response.content = b"event: error\ndata: " + response.content + b"\n\n"
        return response


class Models(OpenAiView):
    """``GET models``: the offered models, and OpenAI's names, which stand for the batch's model."""

    def get(self, _request: Request, batch: str = "") -> HttpResponse:
        return JsonResponse({"object": "list", "data": [_described(name) for name in _models()]})


class Model(OpenAiView):
    """``GET models/{model}``: one model."""

    def get(self, _request: Request, model: str, batch: str = "") -> HttpResponse:
        if model not in _models():
            raise Refused("model", "model_not_found", _("The model “%s” is not offered here.") % model, 404)
        return JsonResponse(_described(model))


def _models() -> list[str]:
    return [*parameters.ALIASES, *offered_models.whisper_models()]


def _described(name: str) -> dict[str, Any]:
    owner = "openai" if name in parameters.ALIASES else "speechportal"
    return {"id": name, "object": "model", "created": CREATED, "owned_by": owner}


def _answered(task: Task) -> HttpResponse:
    return Result(task).response()


def _late(task: Task | None) -> HttpResponse:
    message = _("It is not finished yet. Its transcript will be in the portal under its task ID.")
    headers = {**NO_RETRY, TASK_HEADER: task.uid} if task else {}
    return errors.plain(504, "timeout", message, headers)


def _texts(parts: Any) -> Mapping[str, Sequence[str]]:
    """Form fields without the files, by name; a trailing ``[]``, which marks a list, is removed."""
    found: dict[str, list[str]] = {}
    for name, values in parts.lists():
        texts = [value for value in values if isinstance(value, str)]
        if any("\0" in text for text in texts):
            raise Problem(400, "invalid_value", _("The request holds U+0000, which cannot be kept."))
        if texts or name != "file":
            key = name.partition("[")[0]
            found.setdefault(key, []).extend(texts)
    return found


def _fingerprint(request: ApiRequest, batch: Batch, wanted: Transcription, path: Path) -> str:
    """SHA-256 of token, batch, parameters and file, by which an SDK's retry is recognised."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    parts = [request.auth.uid, batch.uid, repr(wanted.answer), repr(wanted.overrides.to_json())]
    digest.update("\n".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
