"""Views of OpenAI's transcription API."""

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
from batches.compat.openai.results import NEVER_AGAIN, TASK_HEADER, Result
from batches.compat.waiting import HeldTask, Seen
from batches.models import Batch, ClientRequest, Task
from domains import offered_models
from speechportal.api.authentication import rate_headers, token_of
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.platform.held_responses import hold

BATCH_HEADER = "OpenAI-Project"
RETRY_HEADER = "x-stainless-retry-count"
SAME_REQUEST = timedelta(days=1)
CREATED = 1_700_000_000  # Clients want a number; nobody reads it.


class OpenAiView(APIView):
    """Errors have OpenAI's shape; tokens, scopes and limits are the portal's."""

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


class HeldStream(HeldTask):
    """A request whose answer is a stream of server-sent events."""

    streams = True
    keep_alive = b": waiting\n\n"

    def head(self) -> HttpResponse:
        head = HttpResponse(content_type="text/event-stream; charset=utf-8")
        head.headers["X-Accel-Buffering"] = "no"  # Proxies pass each event on.
        return head

    def events(self, seen: Seen | None) -> bytes:
        return f": {seen[0]} {seen[1]} %\n\n".encode() if seen else b""


class Transcriptions(OpenAiView):
    """``POST audio/transcriptions``: a file in, its transcript out. Each request is a task of a batch."""

    parser_classes = [MultiPartParser, FormParser]

    def post(self, request: Request, batch: str = "") -> HttpResponseBase:
        chosen = intake.batch_named(self.request.account, batch or request.headers.get(BATCH_HEADER, ""))
        parts: Any = request.data
        media = parts.get("file")
        if not isinstance(media, UploadedFile):
            raise Refused("file", "missing_required_parameter", _("Send the file as the part “file”."))
        wanted = parameters.read(_texts(parts), chosen)
        task = self._task(chosen, wanted, media)
        kind = HeldStream if wanted.stream else HeldTask
        held = kind(
            seconds=settings.SYNC_SECONDS,
            start=lambda: task,
            answer=_streamed if wanted.stream else _answered,
            problem=self._stream_problem if wanted.stream else self.problem,
            late=_late,
        )
        response = hold(request._request, held)  # noqa: SLF001 - REST framework's own name for it
        response.headers[TASK_HEADER] = task.uid
        if wanted.ignored:
            response.headers[IGNORED_HEADER] = ascii_list(wanted.ignored)
        return response

    def _task(self, batch: Batch, wanted: Transcription, media: UploadedFile[bytes]) -> Task:
        """A new task; or, for a request that an SDK sends again, the one that it has made already."""
        with intake.received(media) as path:
            fingerprint = _fingerprint(self.request, batch, wanted, path)
            if self.request.headers.get(RETRY_HEADER, "0") != "0":
                earlier = ClientRequest.objects.for_account(self.request.account).filter(
                    fingerprint=fingerprint, created_at__gte=timezone.now() - SAME_REQUEST
                )
                if (found := earlier.select_related("task").order_by("-pk").first()) is not None:
                    return found.task
            wish = intake.Wish(
                interface=ClientRequest.Interface.OPENAI,
                overrides=wanted.overrides,
                answer=wanted.answer,
                ignored=wanted.ignored,
                fingerprint=fingerprint,
            )
            return intake.take_file(batch, wish, media.name or "audio", path)

    def _stream_problem(self, error: Exception) -> HttpResponse:
        """An error as the last event of a stream, which began with status 200."""
        response = self.problem(error)
        response.content = b"event: error\ndata: " + response.content + b"\n\n"
        return response


class Models(OpenAiView):
    """``GET models``: the offered models, and OpenAI's names, which stand for the batch's own."""

    def get(self, _request: Request, batch: str = "") -> HttpResponse:
        return JsonResponse({"object": "list", "data": [_described(name) for name in _models()]})


class Model(OpenAiView):
    """``GET models/{model}``."""

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


def _streamed(task: Task) -> HttpResponse:
    return HttpResponse(b"".join(Result(task).events()), content_type="text/event-stream; charset=utf-8")


def _late(task: Task | None) -> HttpResponse:
    message = _("It is not finished yet. Its transcript will be in the portal under its task ID.")
    headers = {**NEVER_AGAIN, TASK_HEADER: task.uid} if task else {}
    return errors.plain(504, "timeout", message, headers)


def _texts(parts: Any) -> Mapping[str, Sequence[str]]:
    """The parts that are no files, by name; ``[]`` at the end of a name says only that it may repeat."""
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
    """Of token, batch, parameters and file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    parts = [request.auth.uid, batch.uid, repr(wanted.answer), repr(wanted.overrides.to_json())]
    digest.update("\n".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
