"""REST endpoints of transcripts: read, correct, download, publish; result files and the recording."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import PurePosixPath

from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from batches import formats
from batches.api.serializers import FORMAT_NAMES, Count, Link, ResultFileOutput
from batches.formats import clova_json
from batches.models import StoredTranscript, Task
from batches.recognition.transcript import Transcript
from batches.transcripts import changes, corrections, recordings
from batches.worker.result_files import result_context
from speechportal.api.fields import Choice, StrictBooleanField, StrictCharField, StrictIntegerField
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input
from speechportal.api.views import ApiView
from speechportal.platform.http import download

LINK_SECONDS = 3600
RESULT = OpenApiResponse(
    {"type": "object", "additionalProperties": {}},
    description="In the format of CLOVA Speech's result; times are in milliseconds.",
)


class LineInput(Input):
    segment = StrictIntegerField(min_value=0, help_text="Its place in `segments`, from 0.")
    text = StrictCharField(allow_blank=True, help_text="The recognised text removes the correction.")


class SpeakerInput(Input):
    label = StrictCharField(help_text="As in `speakers`: `1`.")  # type: ignore[assignment] # text in the base class
    name = StrictCharField(allow_blank=True, help_text="An empty name restores the letter.")


class ChangeInput(Input):
    """One change of the lines; its places and offsets are those after the changes before it."""

    kind = Choice(choices=list(changes.KINDS), help_text="What is changed.")
    segment = StrictIntegerField(min_value=0, required=False, help_text="The line's place in `segments`.")
    text = StrictCharField(
        allow_blank=True, required=False, help_text="Of `text` and `replace`: the new text."
    )
    offset = StrictIntegerField(
        min_value=1, required=False, help_text="Of `split`: the character to split in front of."
    )
    speaker = StrictCharField(required=False, help_text="A label; of `speaker` also `new`.")
    into = StrictCharField(required=False, help_text="Of `merge_speakers`: the label that stays.")
    name = StrictCharField(allow_blank=True, required=False, help_text="Of `name`: the speaker's name.")
    find = StrictCharField(required=False, trim_whitespace=False, help_text="Of `replace`: what is replaced.")
    match_case = StrictBooleanField(required=False, help_text="Of `replace`; otherwise case does not matter.")


class CorrectionInput(Input):
    """Corrections: texts, speaker names and changes of the lines. The recognised transcript is kept."""

    lines = LineInput(many=True, required=False)
    speakers = SpeakerInput(many=True, required=False)
    changes = ChangeInput(many=True, required=False, help_text="Applied after `lines` and `speakers`.")


class ResultLink(ResultFileOutput):
    url = serializers.CharField(help_text="Works without a token until it expires.")
    expires_at = serializers.DateTimeField()


class TranscriptView(ApiView):
    """The transcript of a task's file."""

    area = "tasks"
    more_errors = {"results": ("502",), "media": ("502",)}
    pagination_class = None

    def task(self) -> Task:
        tasks = Task.objects.for_account(self.request.account).select_related("batch", "connection")
        return get_object_or_404(tasks, uid=self.kwargs["uid"])

    def transcript(self, task: Task) -> Transcript:
        kept = StoredTranscript.objects.for_account(self.request.account).filter(task=task).first()
        if kept is None:
            raise Problem(404, "no_transcript", _("There is no transcript yet."))
        return kept.published()

    @extend_schema(responses={(200, "application/json"): RESULT}, summary="Read the transcript")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        """Returns segments with speakers and words with times; `textEdited` is the corrected text."""
        task = self.task()
        return Response(clova_json.document(self.transcript(task), result_context(task)))

    @extend_schema(
        request=CorrectionInput,
        responses={(200, "application/json"): RESULT},
        examples=[
            OpenApiExample(
                "A line and a speaker",
                {
                    "lines": [{"segment": 0, "text": "Good morning."}],
                    "speakers": [{"label": "1", "name": "Kim"}],
                },
                request_only=True,
            ),
            OpenApiExample(
                "Split a line, and give its second part to a new speaker",
                {
                    "changes": [
                        {"kind": "split", "segment": 0, "offset": 14},
                        {"kind": "speaker", "segment": 1, "speaker": "new"},
                    ]
                },
                request_only=True,
            ),
        ],
        summary="Correct the transcript",
    )
    def partial_update(self, request: ApiRequest, uid: str) -> Response:
        """Applies all corrections, or none. Publishing writes them to the result files."""
        task, fields = self.task(), self.read(CorrectionInput)
        self.transcript(task)
        with transaction.atomic():
            for line in fields.get("lines", []):
                corrections.correct_text(task=task, index=line["segment"], text=line["text"], by=request.user)
            if names := {each["label"]: each["name"] for each in fields.get("speakers", [])}:
                corrections.name_speakers(task=task, names=names, by=request.user)
            if wanted := fields.get("changes"):
                changes.apply(task=task, changes=wanted, by=request.user)
        return self.retrieve(request, uid)

    @extend_schema(request=None, responses={200: Count}, summary="Write the result files as corrected")
    def publish(self, request: ApiRequest, uid: str) -> Response:
        """Rewrites the result files with the corrections, under the same names. Safe to repeat."""
        return Response({"count": corrections.publish(task=self.task())})

    @extend_schema(responses={200: ResultLink(many=True)}, summary="List the result files")
    def results(self, request: ApiRequest, uid: str) -> Response:
        """Lists the result files, each with a URL that works without a token for an hour."""
        task, expires_at = self.task(), _expiry()
        store = task.connection.store() if task.connection else None
        links = [
            {
                **ResultFileOutput(file).data,
                "url": store.presign(file.key, expires=LINK_SECONDS, filename=PurePosixPath(file.key).name),
                "expires_at": expires_at,
            }
            for file in task.result_files.filter(written_at__isnull=False)
            if store is not None
        ]
        return Response(ResultLink(links, many=True).data)

    @extend_schema(
        parameters=[
            OpenApiParameter("file_format", str, "path", enum=[name for name, _label in FORMAT_NAMES])
        ],
        responses={
            (200, each.media_type): OpenApiResponse(
                {"type": "string", **({"format": "binary"} if each.binary else {})}, description=each.label
            )
            for each in formats.FORMATS.values()
            if each.name != "json"
        }
        | {(200, "application/json"): RESULT},
        summary="Download the transcript in a format",
    )
    def download(self, request: ApiRequest, uid: str, file_format: str) -> HttpResponse:
        """The corrected transcript in any format, also in one that the batch does not write."""
        task = self.task()
        if file_format not in formats.FORMATS:
            raise Http404
        chosen = formats.FORMATS[file_format]
        data = formats.render(file_format, self.transcript(task), result_context(task))
        stem = PurePosixPath(task.name).stem or task.uid
        return download(data, f"{stem}{chosen.extension}", chosen.content_type)

    @extend_schema(responses={200: Link}, summary="Get an address to read the recording from")
    def media(self, request: ApiRequest, uid: str) -> Response:
        """Returns a URL of the recording, or of its redacted copy, that works without a token for an hour."""
        task = self.task()
        if task.connection is None:
            raise Http404
        key = recordings.key_for_members(task)
        if key is None:
            raise Problem(403, "not_muted", str(recordings.NOT_MUTED))
        url = task.connection.store().presign(key, expires=LINK_SECONDS)
        return Response(Link({"url": url, "method": "GET", "expires_at": _expiry()}).data)


def _expiry() -> datetime:
    return timezone.now() + timedelta(seconds=LINK_SECONDS)
