"""CLOVA's API for short sentences: ``POST /recog/v1/stt?lang=Kor`` with the audio as the body."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from batches.compat import intake
from batches.compat.clova import results
from batches.compat.clova.views import HEADER, ClovaView, KeyAuthentication, error_response
from batches.compat.waiting import HeldTask
from batches.models import ClientRequest, Task, languages
from batches.models.task_settings import TaskOverrides
from speechportal.api.problems import Problem
from speechportal.platform.held_responses import hold

KEY_ID = "X-NCP-APIGW-API-KEY-ID"
LONGEST_BYTES = 10 * 1024 * 1024  # 60 seconds of uncompressed audio
SECONDS = 120.0


class GatewayKeyAuthentication(KeyAuthentication):
    """Authentication by an API token in the header of NAVER Cloud's API gateway."""

    headers = ("X-NCP-APIGW-API-KEY", HEADER)


class SoundParser(BaseParser):
    """Parser of a request body that is an audio file; accepts any media type."""

    media_type = "*/*"

    def parse(  # type: ignore[override] # the stubs expect a form or JSON
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        data: bytes = stream.read(LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise Problem(413, "STT002", _("A short sentence has at most 10 MB."))
        return data


class ShortSentence(ClovaView):
    """Recognise a short recording and return its text. The key ID may name a batch or a domain."""

    authentication_classes = [GatewayKeyAuthentication]
    parser_classes = [SoundParser]

    def get_exception_handler(self) -> Any:
        return _error

    def post(self, request: Request) -> HttpResponseBase:
        language = languages.find(request.query_params.get("lang", "Kor"))
        if language is None:
            raise Problem(400, "STT003", _("The language is not known here: use Kor, Eng, Jpn or Chn."))
        account = self.request.account
        try:
            batch = intake.batch_named(account, request.headers.get(KEY_ID, ""))
        except Problem as problem:
            if problem.code != "batch_not_found":
                raise
            batch = intake.batch_named(account, "")
        sound: Any = request.data
        if not isinstance(sound, bytes) or not sound:
            raise Problem(400, "STT004", _("Send the sound as the body of the request."))
        options = intake.RequestOptions(
            interface=ClientRequest.Interface.CLOVA,
            overrides=TaskOverrides(recognition={"language": language, "speakers": False}, formats=()),
            answer={"completion": "sync"},
        )
        settings.WORK_DIR.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=settings.WORK_DIR, prefix="request-") as file:
            file.write(sound)
            file.flush()
            task = intake.take_file(batch, options, "sentence.wav", Path(file.name))
        held = HeldTask(
            seconds=min(SECONDS, settings.SYNC_SECONDS),
            start=lambda: task,
            answer=_text,
            problem=lambda error: _error(error, {"request": self.request, "view": self}),
            late=lambda _task: _refusal(504, "STT998", _("It is not finished yet.")),
        )
        return hold(self.request._request, held)  # noqa: SLF001 - REST framework has no public name for it


def _text(task: Task) -> HttpResponse:
    found = results.document(task, results.request_of(task))
    if "text" not in found:
        return _refusal(400, "STT006", str(found["message"]))
    return JsonResponse({"text": found["text"]}, json_dumps_params={"ensure_ascii": False})


def _refusal(status: int, code: str, message: str) -> HttpResponse:
    document = {"errorCode": code, "errorMessage": message}
    return JsonResponse(document, status=status, json_dumps_params={"ensure_ascii": False})


def _error(error: Exception, context: dict[str, Any]) -> HttpResponse:
    response = error_response(error, context)
    found = json.loads(response.content)
    answer = _refusal(response.status_code, found["code"], found["message"])
    for name, value in response.headers.items():
        if name not in {"Content-Type", "Content-Length"}:
            answer.headers[name] = value
    return answer
