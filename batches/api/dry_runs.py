"""REST endpoints of dry runs: try paths and a webhook URL before a batch exists."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from batches.api.usage import EstimateOutput
from batches.models import Batch
from batches.services import dry_run
from batches.services.batches import BatchFields
from batches.webhooks import endpoint_check
from domains.models import Domain
from speechportal.api.fields import AccountRelatedField, StrictCharField
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input
from speechportal.api.views import ApiView
from speechportal.storage.api import FindingOutput
from speechportal.storage.models import Connection


class LiveBatchInput(Input):
    """Input with the field `batch`: the ID of a batch that is not deleted."""

    def validate_batch(self, batch: Batch) -> Batch:
        if batch.deleted_at:
            self.fields["batch"].fail("does_not_exist", value=batch.uid)
        return batch


class CheckInput(LiveBatchInput):
    connection = AccountRelatedField(Connection, help_text="The ID of the connection that holds both paths.")
    input_path = StrictCharField(max_length=900, allow_blank=True, default="")
    result_path = StrictCharField(max_length=900, allow_blank=True, default="")
    name = StrictCharField(max_length=100, required=False, help_text="The batch's name, if it has one yet.")
    domain = AccountRelatedField(Domain, required=False, help_text="The ID of its domain, if chosen.")
    batch = AccountRelatedField(
        Batch,
        required=False,
        help_text="The ID of the batch to change: its own name and paths then cause no conflict.",
    )


class RefusalOutput(serializers.Serializer[Any]):
    """An error that creating or changing the batch would return."""

    field = serializers.CharField(allow_blank=True, help_text="Empty for an error of the whole batch.")
    message = serializers.CharField()


class CheckOutput(serializers.Serializer[Any]):
    """Findings for both paths, and the files that wait in the input path (not counted if a path fails)."""

    ok = serializers.BooleanField(source="is_fine")
    input_path = FindingOutput(many=True, source="input_findings", help_text="Operations that were tried.")
    result_path = FindingOutput(
        many=True, source="result_findings", help_text="Empty where both paths are the same."
    )
    refused = RefusalOutput(many=True, help_text="Errors of the given fields.")
    files = serializers.IntegerField(help_text="Media files that wait in the input path.")
    size = serializers.IntegerField(help_text="Of these, in bytes.")
    media_duration = serializers.IntegerField(
        allow_null=True,
        help_text="Estimated duration of these, in milliseconds; null if unknown.",
    )
    has_more = serializers.BooleanField(source="is_more", help_text="Whether only the first were counted.")
    estimate = EstimateOutput(allow_null=True, help_text="What recognising these costs.")


class TryInput(LiveBatchInput):
    webhook_url = StrictCharField(max_length=2000)
    batch = AccountRelatedField(
        Batch,
        required=False,
        help_text="The ID of the batch whose secret signs the message; without it, it is not signed.",
    )


class TrialOutput(serializers.Serializer[Any]):
    """Result of a test message."""

    ok = serializers.SerializerMethodField(help_text="Whether the receiver accepted the message.")
    problem = serializers.CharField(allow_blank=True, help_text="Why it did not.")
    signed = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status of the response.")
    milliseconds = serializers.IntegerField(help_text="Time until the response.")
    answer = serializers.CharField(allow_blank=True, help_text="The beginning of the response.")

    def get_ok(self, sent: endpoint_check.Trial) -> bool:
        return not sent.problem


class TrialView(ApiView):
    """Dry runs. Nothing is stored."""

    area = "batches"
    pagination_class = None

    @extend_schema(request=CheckInput, responses={200: CheckOutput}, summary="Try the paths of a batch")
    def check(self, request: ApiRequest) -> Response:
        """Tries every operation of a batch on its paths with a small file.

        Also counts the waiting files and their cost. `refused` has the errors that creating the batch would
        return.
        """
        given = self.read(CheckInput)
        others = BatchFields()
        if "name" in given:
            others["name"] = given["name"]
        if "domain" in given:
            others["domain"] = given["domain"]
        found = dry_run.preview(
            connection=given["connection"],
            input_path=given["input_path"],
            result_path=given["result_path"],
            batch=given.get("batch"),
            others=others,
        )
        return Response(CheckOutput(found).data)

    @extend_schema(request=TryInput, responses={200: TrialOutput}, summary="Try a webhook URL")
    def try_webhook(self, request: ApiRequest) -> Response:
        """Sends a message of the type `webhook.test` at once, before any batch has the URL."""
        fields = self.read(TryInput)
        sent = endpoint_check.send(
            account=request.account, url=fields["webhook_url"], batch=fields.get("batch")
        )
        return Response(TrialOutput(sent).data)
