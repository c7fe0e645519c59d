"""Tasks, their transcripts and their result files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches import formats, services
from batches.api.shapes import FORMAT_NAMES, Link, ResultFileOutput, TaskOutput
from batches.formats import clova_json
from batches.models import Task
from batches.models import Transcript as Checkpoint
from batches.recognition.transcript import Transcript
from batches.results import result_context
from speechportal.api.idempotency import idempotent
from speechportal.api.problems import Problem
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import ItemParameters, ListParameters
from speechportal.api.views import ApiView
from speechportal.http import download

LINK_SECONDS = 3600


class TaskList(ListParameters):
    orderings = ("created_at", "task_order", "name")
    batch = serializers.CharField(required=False, help_text="The ID of a batch.")
    state = serializers.MultipleChoiceField(
        choices=Task.State.choices, required=False, help_text="Several times for several states."
    )
    q = serializers.CharField(required=False, help_text="Part of a name.")
    name = serializers.CharField(required=False, help_text="Exactly this name.")
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


class ResultLink(ResultFileOutput):
    url = serializers.CharField(help_text="Works without a token until it expires.")
    expires_at = serializers.DateTimeField()


class TaskView(ApiView):
    """Input files and what became of them."""

    area = "tasks"
    output = TaskOutput
    parameter_classes = {"list": TaskList, "retrieve": ItemParameters}

    def tasks(self) -> Any:
        tasks = Task.objects.for_account(self.request.account)
        return tasks.select_related("batch", "execution_result", "original").prefetch_related("result_files")

    def task(self) -> Task:
        found: Task = get_object_or_404(self.tasks(), uid=self.kwargs["uid"])
        return found

    @extend_schema(responses=TaskOutput(many=True), summary="List tasks")
    def list(self, request: ApiRequest) -> Response:
        asked, tasks = self.parameters, self.tasks()
        conditions = {
            "batch__uid": asked.get("batch"),
            "state__in": asked.get("state"),
            "name__icontains": asked.get("q"),
            "name": asked.get("name"),
            "created_at__gte": asked.get("created_after"),
            "created_at__lt": asked.get("created_before"),
        }
        return self.page(tasks.filter(**{name: value for name, value in conditions.items() if value}))

    @extend_schema(responses=TaskOutput, summary="Read a task")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.task())

    @extend_schema(request=None, responses={200: TaskOutput}, summary="Retry a task")
    @action(detail=True, methods=["post"])
    @idempotent
    def retry(self, request: ApiRequest, uid: str) -> Response:
        """A failed or canceled one, with the batch's present settings.

        It is charged once, however often it runs.
        """
        services.retry_task(task=self.task())
        return self.answer(self.task())

    @extend_schema(request=None, responses={200: TaskOutput}, summary="Cancel a task")
    @action(detail=True, methods=["post"])
    @idempotent
    def cancel(self, request: ApiRequest, uid: str) -> Response:
        """Its input file stays where it is. One in progress is `canceling` until its worker notices."""
        services.cancel_task(task=self.task())
        return self.answer(self.task())

    @extend_schema(request=None, responses={201: TaskOutput}, summary="Recognise again")
    @action(detail=True, methods=["post"], url_path="recognise-again")
    @idempotent
    def recognise_again(self, request: ApiRequest, uid: str) -> Response:
        """A new task for the same file, with the batch's present settings and a charge of its own."""
        repeat = services.recognise_again(task=self.task())
        task = get_object_or_404(self.tasks(), uid=repeat.uid)
        return self.answer(task, status=201, location=self.address(task))

    @extend_schema(
        responses={(200, "application/json"): OpenApiResponse(OpenApiTypes.OBJECT, description="See above.")},
        summary="Read the transcript",
    )
    @action(detail=True, pagination_class=None)
    def transcript(self, request: ApiRequest, uid: str) -> Response:
        """In the shape of CLOVA Speech's result: segments with speakers, words with times in milliseconds."""
        task = self.task()
        return Response(clova_json.document(self._transcript(task), result_context(task)))

    @extend_schema(responses={200: ResultLink(many=True)}, summary="List the result files")
    @action(detail=True, pagination_class=None)
    def results(self, request: ApiRequest, uid: str) -> Response:
        """Each with an address from which it can be read without a token, for an hour."""
        task, expires_at = self.task(), _expiry()
        store = task.connection.store() if task.connection else None
        links = [
            {
                **ResultFileOutput(file).data,
                "url": store.presign(file.key, expires=LINK_SECONDS, filename=PurePosixPath(file.key).name),
                "expires_at": expires_at,
            }
            for file in task.result_files.all()
            if store is not None and file.written_at
        ]
        return Response(ResultLink(links, many=True).data)

    results.more_errors = ("502",)  # type: ignore[attr-defined] # read by the description of the API

    @extend_schema(
        parameters=[
            OpenApiParameter("file_format", str, "path", enum=[name for name, _label in FORMAT_NAMES])
        ],
        responses={
            (200, each.media_type): OpenApiResponse(OpenApiTypes.STR, description=each.label)
            for each in formats.FORMATS.values()
        },
        summary="Download the transcript in a format",
    )
    @action(detail=True, url_path="results/(?P<file_format>[a-z]+)", pagination_class=None)
    def download_result(self, request: ApiRequest, uid: str, file_format: str) -> HttpResponse:
        """In any format, whichever the batch writes: made from what is known, with its corrections."""
        task = self.task()
        if file_format not in formats.FORMATS:
            raise Http404
        chosen = formats.FORMATS[file_format]
        data = formats.render(file_format, self._transcript(task), result_context(task))
        stem = PurePosixPath(task.name).stem or task.uid
        return download(data, f"{stem}{chosen.extension}", chosen.content_type)

    @extend_schema(responses={200: Link}, summary="Get an address to read the recording from")
    @action(detail=True, pagination_class=None)
    def media(self, request: ApiRequest, uid: str) -> Response:
        task = self.task()
        if task.connection is None:
            raise Http404
        key = task.moved_key if task.moved_at else task.input_key
        url = task.connection.store().presign(key, expires=LINK_SECONDS)
        return Response(Link({"url": url, "method": "GET", "expires_at": _expiry()}).data)

    media.more_errors = ("502",)  # type: ignore[attr-defined] # read by the description of the API

    def _transcript(self, task: Task) -> Transcript:
        kept = Checkpoint.objects.for_account(self.request.account).filter(task=task).first()
        if kept is None:
            raise Problem(404, "no_transcript", _("There is no transcript yet."))
        return Transcript.from_dict(kept.document)


def _expiry() -> datetime:
    return timezone.now() + timedelta(seconds=LINK_SECONDS)
