"""REST endpoints of domains and their keywords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from domains import keyword_use, offered_models, selectors, services
from domains.api_text import (
    RedactionInput,
    RedactionOutput,
    ReplacementOutput,
    ReplacementsInput,
    ReplacementsOutput,
    replacement_rows,
)
from domains.keywords import check_keywords, parse_keywords
from domains.models import KEYWORD_LIMIT, Domain, DomainQuerySet, Keyword, validate_code
from domains.replacements import check_replacements
from speechportal.api.fields import Choice, StrictCharField
from speechportal.api.idempotency import idempotent
from speechportal.api.parsers import PlainTextParser
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input, ItemParameters, ListParameters, Output, YesOrNo
from speechportal.api.views import ApiView, etag_of
from speechportal.platform.http import download

EXAMPLE = {"name": "Call centre", "code": "calls", "plan": "basic", "keywords": ["Ryzen", "갤럭시 버즈"]}


class DomainInput(Input):
    name = StrictCharField(max_length=100, help_text="What people call it.")
    code = StrictCharField(
        max_length=50,
        validators=[validate_code],
        help_text="A short name for programs, unique in the account.",
    )
    plan = Choice(Domain.Plan.choices, required=False, help_text="Only a Basic domain can have a batch.")
    whisper_model = StrictCharField(
        max_length=offered_models.NAME_LENGTH,
        required=False,
        help_text="The name of an offered Whisper model, or `default`: the portal's first.",
    )
    speaker_model = StrictCharField(
        max_length=offered_models.NAME_LENGTH,
        required=False,
        help_text="The name of an offered speaker model, or `default`: the portal's first.",
    )
    clova_result = Choice(
        Domain.ClovaResult.choices,
        required=False,
        help_text="The `result` of a finished transcript in answers and callbacks of CLOVA's API.",
    )
    keywords = serializers.ListField(
        child=StrictCharField(),
        required=False,
        max_length=KEYWORD_LIMIT,
        help_text="Words that recognition should prefer.",
    )
    forbidden_words = serializers.ListField(
        child=StrictCharField(),
        required=False,
        max_length=KEYWORD_LIMIT,
        help_text="Words that no result shows.",
    )
    forbidden_action = Choice(
        Domain.ForbiddenAction.choices, required=False, help_text="What becomes of forbidden words."
    )
    redaction = RedactionInput(required=False, help_text="Sensitive data that no result shows.")


class KeywordsInput(Input):
    keywords = serializers.ListField(child=StrictCharField(), max_length=KEYWORD_LIMIT)


class BatchReference(serializers.Serializer[Any]):
    id = serializers.CharField(source="uid")
    name = serializers.CharField()


class DomainOutput(Output):
    passing = frozenset({"batch"})

    id = serializers.CharField(source="uid", help_text="Begins with `dom_`.")
    name = serializers.CharField()
    code = serializers.CharField()
    plan = serializers.ChoiceField(Domain.Plan.choices)
    whisper_model = serializers.CharField()
    speaker_model = serializers.CharField()
    clova_result = serializers.ChoiceField(Domain.ClovaResult.choices)
    keyword_count = serializers.IntegerField()
    forbidden_words = serializers.ListField(child=serializers.CharField())
    forbidden_action = serializers.ChoiceField(Domain.ForbiddenAction.choices)
    redaction = RedactionOutput()
    batch = BatchReference(allow_null=True, help_text="The batch that uses it.")
    created_at = serializers.DateTimeField()

    def to_representation(self, instance: Domain) -> dict[str, Any]:
        # The reverse of a one-to-one relation raises where there is no row.
        instance.__dict__.setdefault("batch", getattr(instance, "batch", None))
        return super().to_representation(instance)


class KeywordsOutput(serializers.Serializer[Any]):
    keywords = serializers.ListField(child=serializers.CharField())


class KeywordUseOutput(serializers.Serializer[Any]):
    keyword = serializers.CharField()
    heard = serializers.IntegerField(help_text="Times in texts of the last 30 days.")
    accepted = serializers.IntegerField(
        help_text="Times in the last 30 days that the text of a first pass was corrected to it."
    )
    refused = serializers.IntegerField(
        help_text="Times in the last 30 days that it was tried and the sound made it too unlikely."
    )
    last_heard = serializers.DateField(allow_null=True)
    last_accepted = serializers.DateField(allow_null=True)
    last_refused = serializers.DateField(allow_null=True)


def _check_words(fields: dict[str, Any]) -> None:
    """Validate keywords and forbidden words, and normalise them as stored. Raises ``ValidationError``."""
    if "keywords" in fields:
        fields["keywords"] = check_keywords(fields["keywords"])
    if "forbidden_words" in fields:
        try:
            fields["forbidden_words"] = parse_keywords("\n".join(fields["forbidden_words"]))
        except ValidationError as error:
            raise ValidationError({"forbidden_words": error}) from error


class DomainList(ListParameters):
    orderings = ("name", "code", "created_at")
    q = serializers.CharField(required=False, help_text="Part of a name or code.")
    code = serializers.CharField(required=False, help_text="Exactly this code, capitals aside.")
    plan = serializers.ChoiceField(Domain.Plan.choices, required=False)
    free_for_batch = YesOrNo(required=False, help_text="Only those that a new batch may take.")


class DomainView(ApiView):
    """Recognition profiles: a name, a code, two models, and the keywords to boost."""

    area = "domains"
    output = DomainOutput
    edits_match = True
    default_ordering = "name"
    parameter_classes = {"list": DomainList, "retrieve": ItemParameters}

    def domains(self) -> DomainQuerySet:
        return selectors.list_domains(self.request.account)

    def domain(self) -> Domain:
        return self.found(self.domains(), self.kwargs["uid"])

    def plain_domain(self) -> Domain:
        """The row without annotations, so that it can be saved."""
        return self.found(Domain.objects.for_account(self.request.account), self.kwargs["uid"])

    @extend_schema(responses=DomainOutput(many=True), summary="List domains")
    def list(self, request: ApiRequest) -> Response:
        asked = self.parameters
        domains = selectors.list_domains(request.account, asked.get("q", ""))
        if code := asked.get("code"):
            domains = domains.filter(code__iexact=code)
        if plan := asked.get("plan"):
            domains = domains.filter(plan=plan)
        if asked.get("free_for_batch"):
            domains = domains.free_for_batch()
        return self.page(domains)

    @extend_schema(
        request=DomainInput,
        responses={201: DomainOutput},
        examples=[OpenApiExample("A domain", EXAMPLE, request_only=True)],
        summary="Create a domain",
    )
    @idempotent
    def create(self, request: ApiRequest) -> Response:
        fields = self.read(DomainInput)
        _check_words(fields)
        domain = services.create_domain(account=request.account, **fields)
        return self.answer(self.found(self.domains(), domain.uid), status=201, location=self.address(domain))

    @extend_schema(responses=DomainOutput, summary="Read a domain")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.answer(self.domain())

    @extend_schema(request=DomainInput, responses=DomainOutput, summary="Change a domain")
    def partial_update(self, request: ApiRequest, uid: str) -> Response:
        fields = self.read(DomainInput, partial=True)
        _check_words(fields)
        self.under_match(
            self.domain, lambda _domain: services.update_domain(domain=self.plain_domain(), **fields)
        )
        return self.answer(self.domain())

    @extend_schema(responses={204: None}, summary="Delete a domain")
    def destroy(self, request: ApiRequest, uid: str) -> Response:
        """Not while a batch uses it (409, `domain_in_use`)."""
        self.under_match(self.domain, lambda _domain: services.delete_domain(domain=self.plain_domain()))
        return Response(status=204)

    @extend_schema(responses=ReplacementsOutput, summary="Read the replacements")
    @action(detail=True, pagination_class=None)
    def replacements(self, request: ApiRequest, uid: str) -> Response:
        return self._replacements(self.plain_domain())

    @extend_schema(
        request=ReplacementsInput, responses=ReplacementsOutput, summary="Replace the replacements"
    )
    @replacements.mapping.put
    def replace_replacements(self, request: ApiRequest, uid: str) -> Response:
        """The whole table, in the order in which it is applied."""
        self.plain_domain()  # Raises 404 first, so that strangers learn nothing else.
        rows = check_replacements(replacement_rows(self.read(ReplacementsInput)["replacements"]))
        self.under_match(
            self.plain_domain,
            lambda domain: services.update_domain(domain=domain, replacements=rows),
            lambda domain: etag_of(domain.replacement_rows),
        )
        return self._replacements(self.plain_domain())

    def _replacements(self, domain: Domain) -> Response:
        rows = ReplacementOutput(domain.replacements, many=True).data
        return Response({"replacements": rows}, headers={"ETag": etag_of(domain.replacement_rows)})

    @extend_schema(responses=KeywordsOutput, summary="Read the keywords")
    @action(detail=True, pagination_class=None)
    def keywords(self, request: ApiRequest, uid: str) -> Response:
        return self._keywords(self.plain_domain())

    @extend_schema(request=KeywordsInput, responses=KeywordsOutput, summary="Replace the keywords")
    @keywords.mapping.put
    def replace_keywords(self, request: ApiRequest, uid: str) -> Response:
        self.plain_domain()  # Raises 404 first, so that strangers learn nothing else.
        return self._replaced(self._given_keywords())

    @extend_schema(request=KeywordsInput, responses=KeywordsOutput, summary="Add keywords")
    @keywords.mapping.post
    @idempotent
    def add_keywords(self, request: ApiRequest, uid: str) -> Response:
        domain = self.plain_domain()
        services.add_keywords(domain=domain, keywords=[*self._given_keywords()])
        return self._keywords(domain)

    @extend_schema(request=KeywordsInput, responses=KeywordsOutput, summary="Remove keywords")
    @action(detail=True, methods=["post"], url_path="keywords/remove", pagination_class=None)
    @idempotent
    def remove_keywords(self, request: ApiRequest, uid: str) -> Response:
        """Keywords that the domain does not have are ignored."""
        domain = self.plain_domain()
        services.remove_keywords(domain=domain, keywords=[*self._given_keywords()])
        return self._keywords(domain)

    @extend_schema(responses=KeywordUseOutput(many=True), summary="Read how keywords were used lately")
    @action(detail=True, url_path="keywords/use", pagination_class=None)
    def keyword_use(self, request: ApiRequest, uid: str) -> Response:
        """Each keyword, in their order. Only keywords of lists of more than 50 are tried one by one."""
        return Response(KeywordUseOutput(keyword_use.lately(self.plain_domain()), many=True).data)

    @extend_schema(
        responses={
            (200, "text/plain"): OpenApiResponse(OpenApiTypes.STR, description="One a line, in UTF-8.")
        },
        summary="Download the keywords",
    )
    @action(detail=True, url_path="keywords.txt", pagination_class=None, parser_classes=[PlainTextParser])
    def download_keywords(self, request: ApiRequest, uid: str) -> HttpResponse:
        domain = self.plain_domain()
        lines = "".join(f"{text}\n" for text in self._texts(domain))
        return download(lines, f"{domain.code}-keywords.txt", "text/plain; charset=utf-8")

    @extend_schema(
        request={"text/plain": OpenApiTypes.STR}, responses=KeywordsOutput, summary="Upload the keywords"
    )
    @download_keywords.mapping.put
    def upload_keywords(self, request: ApiRequest, uid: str) -> Response:
        """Replaces all: one a line, or separated by commas, in UTF-8."""
        self.plain_domain()
        data: object = request.data
        try:
            keywords = parse_keywords(data) if isinstance(data, str) else []  # An empty body is not parsed.
        except ValidationError as error:
            raise ValidationError({"keywords": error}) from error
        return self._replaced(keywords)

    def _given_keywords(self) -> Sequence[str]:
        given: Sequence[str] = self.read(KeywordsInput)["keywords"]
        return given

    def _replaced(self, keywords: Sequence[str]) -> Response:
        self.under_match(
            self.plain_domain,
            lambda domain: services.replace_keywords(domain=domain, keywords=[*keywords]),
            lambda domain: etag_of([*self._texts(domain)]),
        )
        return self._keywords(self.plain_domain())

    def _keywords(self, domain: Domain) -> Response:
        texts = [*self._texts(domain)]
        return Response({"keywords": texts}, headers={"ETag": etag_of(texts)})

    def _texts(self, domain: Domain) -> Any:
        own = Keyword.objects.for_account(self.request.account).filter(domain=domain)
        return own.order_by("text", "pk").values_list("text", flat=True)
