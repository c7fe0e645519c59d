"""REST endpoints of tasks: list, retry, cancel, acknowledge, recognise again."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches.api.serializers import AcknowledgeInput, TaskOutput
from batches.models import Task
from batches.services import selected_tasks, selectors
from batches.services import tasks as task_services
from batches.services.task_filters import FLAGS, LONGEST, SORTS, TaskFilter
from batches.transcripts import search
from speechportal.api.idempotency import idempotent
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import ItemParameters, ListParameters
from speechportal.api.views import ApiView
from speechportal.platform.keyset import Column


class TaskList(ListParameters):
    # The columns of the portal's list, and the first two by the names of their fields.
    orderings = ("created_at", "task_order", *SORTS)
    more_on_ordering = (
        "`found` is `created_at` and `order` is `task_order`. Tasks without a value come last in both"
        " directions, equal ones by their age."
    )
    lists = frozenset({"state"})
    batch = serializers.CharField(required=False, help_text="The ID of a batch.")
    state = serializers.MultipleChoiceField(
        choices=Task.State.choices,
        required=False,
        allow_empty=False,
        help_text="Several times for several states.",
    )
    q = serializers.CharField(required=False, help_text="Part of a name.")
    text = serializers.CharField(
        required=False,
        help_text="Words of the transcript or parts of the file's name, as in `GET /transcripts`.",
    )
    name = serializers.CharField(required=False, help_text="Exactly this name.")
    model = serializers.CharField(required=False, help_text="A Whisper or speaker model.")
    language = serializers.CharField(required=False, help_text="As recognised: `ko`.")
    speakers = serializers.IntegerField(
        min_value=0, max_value=100, required=False, help_text="Number of speakers in the transcript."
    )
    flag = serializers.ChoiceField(list(FLAGS), required=False, help_text="A remark of recognition.")
    shortest = serializers.IntegerField(min_value=0, max_value=LONGEST, required=False, help_text="Minutes.")
    longest = serializers.IntegerField(min_value=0, max_value=LONGEST, required=False, help_text="Minutes.")
    created_after = serializers.DateTimeField(required=False)
    created_before = serializers.DateTimeField(required=False)


RECOGNISED = (
    "model",
    "language",
    "speakers",
    "flag",
    "shortest",
    "longest",
)  # conditions on what was recognised


class TaskView(ApiView):
    """Input files and their state."""

    area = "tasks"
    output = TaskOutput
    parameter_classes = {"list": TaskList, "retrieve": ItemParameters}

    def tasks(self) -> Any:
        tasks = Task.objects.for_account(self.request.account)
        related = tasks.select_related("batch", "execution_result", "original", "client_request")
        return related.prefetch_related("result_files", "attempt_history")

    def task(self) -> Task:
        found: Task = get_object_or_404(self.tasks(), uid=self.kwargs["uid"])
        return found

    @extend_schema(responses=TaskOutput(many=True), summary="List tasks")
    def list(self, request: ApiRequest) -> Response:
        asked, tasks = self.parameters, self.tasks()
        # By its key: of a batch's ID, PostgreSQL could not tell a large batch from a small one.
        batch = self.order_anchor = selectors.key_of_batch(request.account, asked.get("batch"))
        chosen = TaskFilter(**{name: asked[name] for name in RECOGNISED if name in asked})
        # Of a batch by its own index: PostgreSQL might look for its tasks among those of all accounts.
        by_order = batch is not None and not chosen.is_of_transcripts
        found = SORTS["found"] if by_order else Column("pk")
        self.order_columns = {**SORTS, "found": found, "created_at": found, "pk": found}
        conditions = {
            "batch": batch,
            "state__in": asked.get("state"),
            "name__icontains": asked.get("q"),
            "name": asked.get("name"),
            "created_at__gte": asked.get("created_after"),
            "created_at__lt": asked.get("created_before"),
        }
        tasks = tasks.filter(chosen.conditions(batch))
        if text := asked.get("text"):
            tasks = tasks.filter(pk__in=search.matching(request.account, text).values("pk"))
        return self.page(
            tasks.filter(**{name: value for name, value in conditions.items() if value not in (None, "")})
        )

    @extend_schema(responses=TaskOutput, summary="Read a task")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.task())

    @extend_schema(request=None, responses={200: TaskOutput}, summary="Retry a task")
    @action(detail=True, methods=["post"])
    @idempotent
    def retry(self, request: ApiRequest, uid: str) -> Response:
        """Retries a failed or cancelled task with the batch's present settings.

        A task is charged once, however often it runs.
        """
        task_services.retry_task(task=self.task())
        return self.answer(self.task())

    @extend_schema(request=None, responses={200: TaskOutput}, summary="Cancel a task")
    @action(detail=True, methods=["post"])
    @idempotent
    def cancel(self, request: ApiRequest, uid: str) -> Response:
        """Cancels the task; its input file stays. One in progress is `cancelling` until its worker stops."""
        task_services.cancel_task(task=self.task())
        return self.answer(self.task())

    @extend_schema(request=None, responses={201: TaskOutput}, summary="Recognise again")
    @action(detail=True, methods=["post"], url_path="recognise-again")
    @idempotent
    def recognise_again(self, request: ApiRequest, uid: str) -> Response:
        """Creates a new task for the same file, with the batch's present settings and its own charge."""
        repeat = task_services.recognise_again(task=self.task())
        task = get_object_or_404(self.tasks(), uid=repeat.uid)
        return self.answer(task, status=201, location=self.address(task))

    @extend_schema(request=AcknowledgeInput, responses={200: TaskOutput}, summary="Acknowledge a failure")
    @action(detail=True, methods=["post"])
    @idempotent
    def acknowledge(self, request: ApiRequest, uid: str) -> Response:
        """Marks the failure as seen: Home no longer lists it. A retry removes the mark."""
        fields = self.read(AcknowledgeInput)
        selected_tasks.acknowledge_task(task=self.task(), note=fields["note"])
        return self.answer(self.task())
