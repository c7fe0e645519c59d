"""REST endpoints of a domain's text rules: try them, and apply them to earlier transcripts."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from batches.api.serializers import Count
from batches.models import Task
from batches.transcripts import reprocessing, rule_trials
from domains.api_text import RedactionInput, ReplacementInput, replacement_rows
from domains.models import Domain
from domains.replacements import REPLACEMENT_LIMIT, check_replacements
from speechportal.api.fields import AccountRelatedField, StrictCharField
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input
from speechportal.api.views import ApiView

SAMPLE_LENGTH = 100_000


class RuleTrialInput(Input):
    """Text rules to try; the domain's own stand for those that are left out."""

    replacements = ReplacementInput(
        many=True,
        required=False,
        max_length=REPLACEMENT_LIMIT,  # type: ignore[call-arg] # the stubs lack this argument of lists
    )
    redaction = RedactionInput(required=False)
    text = StrictCharField(
        required=False, max_length=SAMPLE_LENGTH, help_text="Sample text, one segment per line."
    )
    task = AccountRelatedField(Task, required=False, help_text="Instead of `text`, the ID of a task.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "task" not in attrs and not attrs.get("text", "").strip():
            raise serializers.ValidationError(
                {"text": _("Enter a text, or the ID of a task.")}, code="required"
            )
        return attrs


class RuleTrialLine(serializers.Serializer[Any]):
    before = serializers.CharField()
    after = serializers.CharField()


class RuleTrialOutput(serializers.Serializer[Any]):
    count = serializers.IntegerField(help_text="How many lines change.")
    lines = RuleTrialLine(many=True, help_text="The first 200 of them.")
    text = serializers.CharField(help_text="The whole text after the rules.")


class TextRulesView(ApiView):
    """Text rules of a domain: replacements, forbidden words and redaction."""

    area = "domains"
    pagination_class = None

    def domain(self) -> Domain:
        return self.found(Domain.objects.for_account(self.request.account), self.kwargs["uid"])

    @extend_schema(request=RuleTrialInput, responses={200: RuleTrialOutput}, summary="Try text rules")
    def attempt(self, request: ApiRequest, uid: str) -> Response:
        """Tries text rules without saving anything. What was redacted in a task stays redacted."""
        domain, fields = self.domain(), self.read(RuleTrialInput)
        rows = fields.get("replacements")
        trial = rule_trials.run(
            domain=domain,
            replacements=domain.replacements if rows is None else check_replacements(replacement_rows(rows)),
            redaction=fields.get("redaction", domain.redaction),
            forbidden_words=domain.forbidden_words,
            forbidden_action=domain.forbidden_action,
            sample=fields.get("text", ""),
            task=fields.get("task"),
        )
        return Response(RuleTrialOutput(trial).data)

    @extend_schema(request=None, responses={200: Count}, summary="Apply the rules to old transcripts")
    def apply(self, request: ApiRequest, uid: str) -> Response:
        """Applies the rules to earlier transcripts without recognising again; rewrites their result files."""
        return Response({"count": reprocessing.request(domain=self.domain())})
