"""The CLOVA-compatible addresses: ``/external/v1/<domain code>/<domain ID>/recognizer/…``."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from batches.compat.clova import intake, results
from batches.compat.clova.parameters import Wanted, understand
from batches.models import Batch, Task
from batches.services import selectors
from domains.models import Domain
from speechportal.api import problems
from speechportal.api.authentication import TokenAuthentication, rate_headers, token_of
from speechportal.api.parsers import StrictJsonParser
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.platform.request_bodies import STREAMED

HEADER = "X-CLOVASPEECH-API-KEY"
LOOK_SECONDS = 0.5
# Each waiting request holds a thread of this process; some are left for everybody else.
_waiting = threading.BoundedSemaphore(2)


PARAMS_BYTES = 1024**2


class KeyAuthentication(TokenAuthentication):
    """An API token in CLOVA Speech's header."""

    def presented(self, request: Request) -> str:
        plain = request.headers.get(HEADER, "").strip()
        if not plain:
            raise problems.Problem(401, "token_missing", _("Send an API token in the header %s.") % HEADER)
        return plain


class ClovaView(APIView):
    """Errors have CLOVA's shape: ``result``, ``message``; and our ``code``."""

    request: ApiRequest
    area = "tasks"
    schema = None  # Described by CLOVA Speech's own documentation.
    authentication_classes = [KeyAuthentication]

    def get_exception_handler(self) -> Any:
        return _as_clova_tells

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        token = token_of(request)
        for name, value in rate_headers(token).items() if token else ():
            response.headers.setdefault(name, value)
        return response

    def domain(self) -> Domain:
        own = Domain.objects.for_account(self.request.account)
        return get_object_or_404(own, uid=self.kwargs["key"], code__iexact=self.kwargs["code"])

    def batch(self) -> Batch:
        domain = self.domain()
        batches = selectors.list_batches(self.request.account)
        batch = batches.filter(domain=domain).first()
        if batch is None:
            sentence = _("The domain “%s” has no batch, which is what recognises files. Create one first.")
            raise Problem(409, "domain_without_batch", sentence % domain.code)
        if batch.is_paused:
            raise Problem(409, "batch_paused", _("The batch “%s” is paused. Resume it first.") % batch.name)
        batch.domain = domain
        return batch

    def task(self, uid: str) -> Task:
        tasks = Task.objects.for_account(self.request.account)
        return get_object_or_404(tasks.select_related("batch"), uid=uid)

    def told(self, task: Task) -> HttpResponse | Response:
        request = results.request_of(task)
        if (rendered := results.rendered(task, request)) is not None:
            body, content_type = rendered
            return HttpResponse(body, content_type=content_type)
        return Response(results.document(task, request))

    def answered(self, task: Task, wanted: Wanted) -> HttpResponse | Response:
        """At once, or when the task has ended."""
        if wanted.completion == "async":
            return Response(results.accepted(task))
        if not _waiting.acquire(blocking=False):
            return Response(
                {**results.accepted(task), "message": _("Too many wait: ask for this token later.")},
                status=503,
                headers={"Retry-After": "10"},
            )
        try:
            ended = _wait(task)
        finally:
            _waiting.release()
        if not ended:
            message = _("It is not finished yet: ask for this token later.")
            return Response({**results.accepted(task), "result": "TIMEOUT", "message": message}, status=504)
        return self.told(self.task(task.uid))


class Upload(ClovaView):
    """A file that comes with the request: ``media`` and ``params``."""

    parser_classes = [MultiPartParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponse | Response:
        batch = self.batch()
        too_large = Problem(413, "media_too_large", _("The file is larger than the limit of this portal."))
        is_chunked = request.META.get(STREAMED, False)
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length > settings.MAX_MEDIA_BYTES + 1024**2 and not is_chunked:
            raise too_large
        parts: Any = request.data
        media = parts.get("media")
        if not isinstance(media, UploadedFile):
            raise Problem(400, "media_missing", _("Send the file as the part “media”."))
        if (media.size or 0) > settings.MAX_MEDIA_BYTES:
            raise too_large
        wanted = understand(_decoded(parts.get("params")), batch)
        intake.check_callback(wanted.callback)
        settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.WORK_DIR, prefix="clova-") as file:
            for chunk in media.chunks():
                file.write(chunk)
            file.flush()
            task = intake.take_upload(batch, wanted, media.name or "media", Path(file.name))
        return self.answered(task, wanted)


class FromUrl(ClovaView):
    """A file at an address."""

    parser_classes = [StrictJsonParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponse | Response:
        batch = self.batch()
        wanted = understand(request.data, batch, source="url")
        intake.check_callback(wanted.callback)
        # A slow server holds a thread as a waiting request does.
        if not _waiting.acquire(blocking=False):
            sentence = _("Too many files are being fetched at present. Send it again in a moment.")
            raise Problem(503, "too_many_fetches", sentence, {"Retry-After": "10"})
        try:
            task = intake.take_url(batch, wanted)
        finally:
            _waiting.release()
        return self.answered(task, wanted)


class FromObjectStorage(ClovaView):
    """A file in the batch's storage."""

    parser_classes = [StrictJsonParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponse | Response:
        batch = self.batch()
        wanted = understand(request.data, batch, source="dataKey")
        intake.check_callback(wanted.callback)
        return self.answered(intake.take_object(batch, wanted), wanted)


class Result(ClovaView):
    """What became of a request: the result, or how far it is."""

    def get(self, _request: Request, token: str, **_kwargs: Any) -> HttpResponse | Response:
        self.domain()
        return self.told(self.task(token))


def _wait(task: Task) -> bool:
    """Until the task has ended, or for so long as an answer may take."""
    end = time.monotonic() + settings.CLOVA_SYNC_SECONDS
    states = Task.objects.for_account(task.account).filter(pk=task.pk).values_list("state", flat=True)
    while time.monotonic() < end:
        if states.first() in Task.FINAL:
            return True
        time.sleep(LOOK_SECONDS)
    return False


def _decoded(params: Any) -> Any:
    if params is None:
        return {}
    length = params.size or 0 if isinstance(params, UploadedFile) else len(params)
    if length > PARAMS_BYTES:
        raise Problem(413, "params_too_large", _("The part “params” has more than 1 MB."))
    data = params.read() if isinstance(params, UploadedFile) else params.encode(errors="surrogatepass")
    try:
        return StrictJsonParser().parse(io.BytesIO(data))
    except ParseError as error:
        raise Problem(400, "malformed_params", _("The part “params” is not JSON.")) from error


def _as_clova_tells(error: Exception, context: dict[str, Any]) -> Response:
    response = problems.handle(error, context)
    told: Any = response.data
    errors = [": ".join(filter(None, (each["field"], each["message"]))) for each in told.get("errors", [])]
    document = {
        "result": "FAILED",
        "message": " ".join(errors) or told["detail"],
        "token": None,
        "code": told["code"],
        "requestId": told["request_id"],
    }
    headers = {name: value for name, value in response.headers.items() if name != "Content-Type"}
    # CLOVA knows no 422: what is wrong with a parameter is "Invalid request parameters", 400.
    status = 400 if response.status_code == 422 else response.status_code
    return Response(document, status=status, headers=headers)
