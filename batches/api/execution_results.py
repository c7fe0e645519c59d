"""REST endpoints of execution results."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches.api.serializers import Reference
from batches.models import ExecutionResult
from batches.reports import execution_results
from batches.services import selectors
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import ItemParameters, ListParameters, Output
from speechportal.api.views import ApiView
from speechportal.platform.http import download


class ExecutionResultOutput(Output):
    """A CSV file that reports ten finished tasks, or fewer once the batch has been idle."""

    id = serializers.CharField(source="uid", help_text="Begins with `exr_`.")
    batch = Reference()
    number = serializers.IntegerField()
    task_count = serializers.IntegerField()
    key = serializers.CharField(help_text="Its name in the connection; empty until it is written.")
    created_at = serializers.DateTimeField()
    written_at = serializers.DateTimeField(allow_null=True)


class ExecutionResultList(ListParameters):
    orderings = ("created_at", "number")
    batch = serializers.CharField(required=False, help_text="The ID of a batch.")


class ExecutionResultView(ApiView):
    """The CSV files that report finished tasks."""

    area = "batches"
    output = ExecutionResultOutput
    parameter_classes = {"list": ExecutionResultList, "retrieve": ItemParameters}

    def results(self) -> Any:
        return ExecutionResult.objects.for_account(self.request.account).select_related("batch")

    @extend_schema(responses=ExecutionResultOutput(many=True), summary="List execution results")
    def list(self, request: ApiRequest) -> Response:
        found = self.results()
        if batch := self.parameters.get("batch"):
            found = found.filter(batch=selectors.batch_with(request.account, batch))
        return self.page(found)

    @extend_schema(responses=ExecutionResultOutput, summary="Read an execution result")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.found(self.results(), uid))

    @extend_schema(
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="UTF-8 with its mark.")},
        summary="Download the CSV file",
    )
    @action(detail=True, pagination_class=None)
    def file(self, request: ApiRequest, uid: str) -> HttpResponse:
        """The CSV file, made from the database; its content is that of the file in the storage."""
        result = self.found(self.results(), uid)
        name = result.key.rpartition("/")[2] or f"{result.uid}.csv"
        return download(execution_results.render(result), name, "text/csv; charset=utf-8")
