"""REST endpoints of batches: create, change, pause, delete, and upload files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches.api.serializers import (
    FORMAT_NAMES,
    AcknowledgeSubjectInput,
    BatchInput,
    BatchOutput,
    Count,
    TaskActionInput,
    TaskActionOutput,
    TaskOutput,
    UploadInput,
    UploadLink,
    UploadName,
)
from batches.intake import poll_schedule, uploads
from batches.models import Batch, Task
from batches.services import acknowledgements, selected_tasks, selectors
from batches.services import batches as batch_services
from batches.services import tasks as task_services
from batches.services.task_filters import TaskFilter
from batches.transcripts import archive
from speechportal.api.idempotency import idempotent, takes_key
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import ItemParameters, ListParameters, Parameters, YesOrNo
from speechportal.api.views import ApiView

EXAMPLE = {
    "name": "Calls",
    "domain": "dom_0123456789abcdef",
    "connection": "con_0123456789abcdef",
    "input_path": "calls/in/",
    "result_path": "calls/out/",
    "formats": ["json", "srt"],
    "language": "ko-KR",
    "speakers": True,
}


class BatchList(ListParameters):
    orderings = ("name", "created_at")
    q = serializers.CharField(required=False, help_text="Part of a name or ID, or of the domain's.")
    status = serializers.ChoiceField(Batch.Status.choices, required=False)
    paused = YesOrNo(required=False)
    domain = serializers.CharField(required=False, help_text="The ID of a domain.")
    deleted = YesOrNo(
        required=False, help_text="`true`: instead, deleted batches of which there still are transcripts."
    )


class ArchiveParameters(Parameters):
    lists = frozenset({"format"})
    format = serializers.MultipleChoiceField(
        choices=FORMAT_NAMES,
        required=False,
        allow_empty=False,
        help_text="Several times for several formats; left out, those of the batch.",
    )
    finished_after = serializers.DateTimeField(required=False)


class BatchView(ApiView):
    """Batches: each recognises the new files in its input path."""

    area = "batches"
    output = BatchOutput
    edits_match = True
    parameter_classes = {"list": BatchList, "retrieve": ItemParameters, "results_zip": ArchiveParameters}
    more_errors = {"uploads": ("502",), "upload_finished": ("502",)}

    def live(self) -> Batch:
        return self.found(selectors.list_batches(self.request.account), self.kwargs["uid"])

    def any(self) -> Batch:
        """The batch, which may be deleted: its results and charges still exist."""
        batches = Batch.objects.for_account(self.request.account)
        return self.found(batches.select_related("account", "domain", "connection"), self.kwargs["uid"])

    def whole(self, batches: Sequence[Batch]) -> dict[str, Any]:
        return {"progress": selectors.progress_of(self.request.account, batches)}

    def etag(self, instance: Any, **context: Any) -> str:
        return super().etag(instance, **(context or self.whole([instance])))

    def one(self, batch: Batch, **kwargs: Any) -> Response:
        return self.answer(batch, **self.whole([batch]), **kwargs)

    @extend_schema(responses=BatchOutput(many=True), summary="List batches")
    def list(self, request: ApiRequest) -> Response:
        asked = self.parameters
        listed = selectors.list_deleted_batches if asked.get("deleted") else selectors.list_batches
        batches = listed(request.account, asked.get("q", ""))
        if status := asked.get("status"):
            batches = batches.filter(status=status)
        if (paused := asked.get("paused")) is not None:
            batches = batches.filter(paused_at__isnull=not paused)
        if domain := asked.get("domain"):
            batches = batches.filter(domain__uid=domain)
        return self.page(batches, self.whole)

    @extend_schema(
        request=BatchInput,
        responses={201: BatchOutput},
        examples=[OpenApiExample("A batch", EXAMPLE, request_only=True)],
        summary="Create a batch",
    )
    @takes_key
    def create(self, request: ApiRequest) -> Response:
        """Creates a batch, which starts within a minute. The domain must be a Basic one without a batch."""
        fields = self.read(BatchInput)
        return self._create(request, fields, batch_services.check_endpoint(fields.get("webhook_url", "")))

    @idempotent
    def _create(
        self, request: ApiRequest, fields: dict[str, Any], endpoint_check: batch_services.EndpointCheck
    ) -> Response:
        account = request.account
        created = batch_services.create_batch(account=account, endpoint_check=endpoint_check, **fields)
        batch = self.found(selectors.list_batches(request.account), created.uid)
        return self.one(batch, status=201, location=self.address(batch))

    @extend_schema(responses=BatchOutput, summary="Read a batch")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        """Returns the batch. A deleted batch is returned too, with `deleted_at`."""
        return self.one(self.any())

    @extend_schema(request=BatchInput, responses=BatchOutput, summary="Change a batch")
    def partial_update(self, request: ApiRequest, uid: str) -> Response:
        """Changes the given fields. Tasks that have started keep the settings they started with."""
        fields = self.read(BatchInput, partial=True)
        # Not under_match(): the service looks up the host of a webhook URL before it locks anything.
        batch_services.update_batch(batch=self.live(), confirm=self.check_match, **fields)
        return self.one(self.any())

    @extend_schema(responses={204: None}, summary="Delete a batch")
    def destroy(self, request: ApiRequest, uid: str) -> Response:
        """Deletes the batch and cancels its unfinished tasks. Stored files, results and charges stay."""
        self.under_match(self.live, lambda batch: batch_services.delete_batch(batch=batch))
        return Response(status=204)

    @extend_schema(request=None, responses={200: BatchOutput}, summary="Pause a batch")
    @action(detail=True, methods=["post"])
    @idempotent
    def pause(self, request: ApiRequest, uid: str) -> Response:
        """Stops polling the input path and starting tasks. Tasks in progress are completed."""
        task_services.pause_batch(batch=self.live())
        return self.one(self.live())

    @extend_schema(request=None, responses={200: BatchOutput}, summary="Resume a batch")
    @action(detail=True, methods=["post"])
    @idempotent
    def resume(self, request: ApiRequest, uid: str) -> Response:
        task_services.resume_batch(batch=self.live())
        return self.one(self.live())

    @extend_schema(request=None, responses={200: BatchOutput}, summary="Look at the input path now")
    @action(detail=True, methods=["post"], url_path="look-now")
    def look_now(self, request: ApiRequest, uid: str) -> Response:
        """Polls the input path at once. New files must still stay unchanged for the settling time."""
        poll_schedule.look_now(self.live())
        return self.one(self.live())

    @extend_schema(
        request=AcknowledgeSubjectInput,
        responses={200: BatchOutput},
        examples=[OpenApiExample("An error", {"subject": "error", "note": "known"}, request_only=True)],
        summary="Acknowledge an error or failed messages",
    )
    @action(detail=True, methods=["post"])
    @idempotent
    def acknowledge(self, request: ApiRequest, uid: str) -> Response:
        """Marks the error as seen: Home and mails omit it until something else fails.

        409 if there is nothing to acknowledge.
        """
        fields = self.read(AcknowledgeSubjectInput)
        acknowledgements.SUBJECTS[fields["subject"]](batch=self.live(), note=fields["note"])
        return self.one(self.live())

    @extend_schema(request=None, responses={200: Count}, summary="Retry all failed tasks")
    @action(detail=True, methods=["post"], url_path="retry-failed")
    @idempotent
    def retry_failed(self, request: ApiRequest, uid: str) -> Response:
        """Retries the failed tasks. No task is charged twice."""
        return Response({"count": task_services.retry_failed(batch=self.live())})

    @extend_schema(request=None, responses={200: Count}, summary="Cancel all waiting tasks")
    @action(detail=True, methods=["post"], url_path="cancel-waiting")
    @idempotent
    def cancel_waiting(self, request: ApiRequest, uid: str) -> Response:
        """Cancels the waiting tasks. Their input files stay where they are."""
        return Response({"count": task_services.cancel_waiting(batch=self.live())})

    @extend_schema(
        request=TaskActionInput,
        responses={200: TaskActionOutput},
        examples=[
            OpenApiExample(
                "All failed ones", {"action": "retry", "filter": {"state": "failed"}}, request_only=True
            )
        ],
        summary="Retry, cancel, acknowledge or recognise many tasks again",
    )
    @action(detail=True, methods=["post"], url_path="task-actions")
    @idempotent
    def task_actions(self, request: ApiRequest, uid: str) -> Response:
        """Applies an action to the given tasks; skips those whose state does not allow it.

        At most 500 are recognised again.
        """
        batch, fields = self.live(), self.read(TaskActionInput)
        if "ids" in fields:
            own = Task.objects.for_account(request.account).filter(batch=batch)
            tasks = own.filter(uid__in=fields["ids"])
        else:
            tasks = TaskFilter(**fields["filter"]).apply(batch)
        extra = {"note": fields.get("note", "")} if fields["action"] == "acknowledge" else {}
        outcome = selected_tasks.ACTIONS[fields["action"]](batch=batch, tasks=tasks, **extra)
        return Response(TaskActionOutput(outcome).data)

    @extend_schema(
        responses={(200, "application/zip"): OpenApiResponse({"type": "string", "format": "binary"})},
        summary="Download many results as a ZIP file",
    )
    @action(detail=True, url_path="results.zip", pagination_class=None)
    def results_zip(self, request: ApiRequest, uid: str) -> StreamingHttpResponse:
        """Results of the newest finished tasks, 1,000 at most; `manifest.json` in the file lists them."""
        asked, batch = self.parameters, self.any()
        ended = Task.objects.for_account(request.account).filter(batch=batch, state__in=Task.FINAL)
        if after := asked.get("finished_after"):
            ended = ended.filter(finished_at__gte=after)
        newest = list(ended.order_by("-pk").values_list("pk", flat=True)[: archive.LIMIT])
        tasks = Task.objects.for_account(request.account).filter(pk__in=newest)
        wanted = sorted(asked.get("format") or batch.formats)
        response = StreamingHttpResponse(archive.stream(tasks, wanted), content_type="application/zip")
        disposition = content_disposition_header(as_attachment=True, filename=f"{batch.name}.zip")
        response.headers["Content-Disposition"] = disposition or "attachment"
        return response

    @extend_schema(
        request=UploadInput,
        responses={201: UploadLink},
        examples=[OpenApiExample("A file", {"name": "monday/call.mp3"}, request_only=True)],
        summary="Get an address to upload a file to",
    )
    @action(detail=True, methods=["post"])
    def uploads(self, request: ApiRequest, uid: str) -> Response:
        """Returns a URL that uploads the file straight to the input path, where polling finds it."""
        fields = self.read(UploadInput)
        upload = uploads.prepare(batch=self.live(), **fields)
        link = {"url": upload.url, "method": "PUT", "expires_at": upload.expires_at, "key": upload.key}
        return Response(UploadLink(link).data, status=201)

    @extend_schema(
        request=UploadName,
        responses={200: TaskOutput},
        examples=[OpenApiExample("A file", {"name": "monday/call.mp3"}, request_only=True)],
        summary="Say that an upload has ended",
    )
    @action(detail=True, methods=["post"], url_path="uploads/finished")
    def upload_finished(self, request: ApiRequest, uid: str) -> Response:
        """Creates the file's task at once. Without this call, polling finds the file. Safe to repeat."""
        task = uploads.finish(batch=self.live(), **self.read(UploadName))
        found = Task.objects.for_account(request.account).select_related(
            "batch", "execution_result", "original"
        )
        return Response(TaskOutput(found.get(pk=task.pk)).data)
