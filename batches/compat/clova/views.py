"""Views of the CLOVA-compatible API: ``/external/v1/<domain code>/<domain ID>/recognizer/…``."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.views import APIView

from batches.compat import intake
from batches.compat.clova import results
from batches.compat.clova.parameters import Parameters, parse
from batches.compat.headers import IGNORED_HEADER, ascii_list
from batches.compat.waiting import HeldTask
from batches.models import Batch, ClientRequest, Task
from domains.models import Domain
from speechportal.api import problems
from speechportal.api.authentication import TokenAuthentication, rate_headers, token_of
from speechportal.api.parsers import StrictJsonParser
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.platform.held_responses import hold
from speechportal.platform.request_bodies import STREAMED

HEADER = "X-CLOVASPEECH-API-KEY"


PARAMS_BYTES = 1024**2


class KeyAuthentication(TokenAuthentication):
    """Authentication by an API token in CLOVA Speech's header."""

    headers: tuple[str, ...] = (HEADER,)

    def presented(self, request: Request) -> str:
        for header in self.headers:
            if plain := request.headers.get(header, "").strip():
                return plain
        raise problems.Problem(
            401, "token_missing", _("Send an API token in the header %s.") % self.headers[0]
        )


class LenientJsonParser(StrictJsonParser):
    """JSON parser that accepts any content type: several clients send JSON as ``text/plain``."""

    media_type = "*/*"


class ClovaView(APIView):
    """Base of the CLOVA views. Errors have CLOVA's keys ``result`` and ``message``, and our ``code``."""

    request: ApiRequest
    area = "tasks"
    schema = None  # Described by CLOVA Speech's own documentation.
    authentication_classes = [KeyAuthentication]

    def get_exception_handler(self) -> Any:
        return error_response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        token = token_of(request)
        for name, value in rate_headers(token).items() if token else ():
            response.headers.setdefault(name, value)
        return response

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        # Clients send invalid Accept headers such as "application/json;UTF-8"; the response is always JSON.
        return super().perform_content_negotiation(request, force=True)

    def domain(self) -> Domain:
        own = Domain.objects.for_account(self.request.account)
        return get_object_or_404(own, uid=self.kwargs["key"], code__iexact=self.kwargs["code"])

    def batch(self) -> Batch:
        domain = self.domain()
        batch = intake.batch_of_domain(self.request.account, domain)
        batch.domain = domain
        return batch

    def task(self, uid: str) -> Task:
        tasks = Task.objects.for_account(self.request.account)
        return get_object_or_404(tasks.select_related("batch__domain"), uid=uid)

    def answered(self, sent: Parameters, start: Callable[[], Task], *, is_slow: bool) -> HttpResponseBase:
        """Response to a recognition request: at once if asynchronous, else when the task has ended.

        ``start`` creates the task. If that ``is_slow``, it runs in the background.
        """
        intake.check_callback(sent.callback)
        is_async = sent.completion == "async"
        if not is_slow:
            task = start()
            start = lambda: task  # noqa: E731 - returns the existing task
        held = HeldTask(
            seconds=settings.SYNC_SECONDS,
            start=start,
            answer=result_response,
            problem=lambda error: error_response(error, {"request": self.request, "view": self}),
            late=_late,
        )
        if not is_async:
            response = hold(self.request._request, held)  # noqa: SLF001 - REST framework has no public name
        elif is_slow:
            response = hold(self.request._request, _Accepted(held))  # noqa: SLF001 - likewise
        else:
            response = _json(results.accepted(start()))
        if sent.ignored:
            response.headers[IGNORED_HEADER] = ascii_list(sent.ignored)
        return response


class _Accepted(HeldTask):
    """Held asynchronous request whose task is slow to create; answered as soon as the task exists."""

    def __init__(self, held: HeldTask) -> None:
        self.__dict__.update(held.__dict__)

    def begin(self) -> HttpResponse | None:
        response = super().begin()
        if response is not None or self.task is None:
            return response
        return _json(results.accepted(self.task))


class Upload(ClovaView):
    """``POST recognizer/upload``: recognise the file in the part ``media``, with ``params``."""

    parser_classes = [MultiPartParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
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
        sent = parse(_decoded(parts.get("params")), batch)
        with intake.spooled(media) as path:
            return self.answered(
                sent,
                lambda: intake.take_file(batch, _options(sent), media.name or "media", path),
                is_slow=False,
            )


class FromUrl(ClovaView):
    """``POST recognizer/url``: recognise a file at a URL."""

    parser_classes = [LenientJsonParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        batch = self.batch()
        sent = parse(request.data, batch, source="url")
        return self.answered(sent, lambda: intake.take_url(batch, _options(sent), sent.source), is_slow=True)


class FromObjectStorage(ClovaView):
    """``POST recognizer/object-storage``: recognise a file in the batch's storage."""

    parser_classes = [LenientJsonParser]

    def post(self, request: Request, **_kwargs: Any) -> HttpResponseBase:
        batch = self.batch()
        sent = parse(request.data, batch, source="dataKey")
        return self.answered(
            sent, lambda: intake.take_object(batch, _options(sent), sent.source), is_slow=False
        )


class Result(ClovaView):
    """``GET recognizer/{token}``: the result of a request, or its progress."""

    def get(self, _request: Request, token: str, **_kwargs: Any) -> HttpResponse:
        self.domain()
        return result_response(self.task(token))


def result_response(task: Task) -> HttpResponse:
    """Response with a task's result, in the format that its request asked for."""
    request = results.request_of(task)
    if (found := results.rendered(task, request)) is not None:
        body, content_type = found
        return HttpResponse(body, content_type=content_type)
    return _json(results.document(task, request))


def _options(sent: Parameters) -> intake.RequestOptions:
    return intake.RequestOptions(
        interface=ClientRequest.Interface.CLOVA,
        overrides=sent.overrides,
        answer=sent.answer,
        ignored=sent.ignored,
        callback=sent.callback,
    )


def _late(task: Task | None) -> HttpResponse:
    message = _("It is not finished yet: ask for this token later.")
    known = results.accepted(task) if task else {"token": None}
    return _json({**known, "result": "TIMEOUT", "message": message}, status=504)


def _json(document: dict[str, Any], status: int = 200) -> HttpResponse:
    return JsonResponse(document, status=status, json_dumps_params={"ensure_ascii": False})


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


def error_response(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """Exception handler: an error response in CLOVA's format."""
    response = problems.handle(error, context)
    found: Any = response.data
    errors = [": ".join(filter(None, (each["field"], each["message"]))) for each in found.get("errors", [])]
    document = {
        "result": "FAILED",
        "message": " ".join(errors) or found["detail"],
        "token": None,
        "code": found["code"],
        "requestId": found["request_id"],
    }
    # CLOVA does not use 422: an invalid parameter is "Invalid request parameters", 400.
    answer = _json(document, status=400 if response.status_code == 422 else response.status_code)
    for name, value in response.headers.items():
        if name != "Content-Type":
            answer.headers[name] = value
    return answer
