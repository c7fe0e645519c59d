"""REST endpoints of webhooks and deliveries."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from batches.api.serializers import Count, Reference
from batches.models import Batch, Delivery, DeliveryAttempt, Webhook
from batches.services import selectors
from batches.webhooks import endpoint, events, kinds, redelivery
from batches.webhooks import selectors as webhooks
from speechportal.api.fields import StrictBooleanField
from speechportal.api.idempotency import idempotent
from speechportal.api.permissions import webhook_url_for
from speechportal.api.requests import ApiRequest
from speechportal.api.serializers import Input, ItemParameters, ListParameters, Output
from speechportal.api.views import ApiView


class AttemptOutput(serializers.Serializer[Any]):
    """An attempt to send a delivery."""

    number = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    duration = serializers.IntegerField(allow_null=True, help_text="In milliseconds.")
    status = serializers.IntegerField(allow_null=True, help_text="HTTP status; null without a response.")
    error_code = serializers.CharField(allow_blank=True)
    error = serializers.CharField(allow_blank=True)
    answer = serializers.SerializerMethodField(
        help_text="The beginning of the response, for owners and managers; otherwise null."
    )

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_answer(self, attempt: DeliveryAttempt) -> str | None:
        return attempt.answer if self.context["may_see_answers"] else None


class DeliveryOutput(Output):
    """One message to a receiver: a webhook message or a callback."""

    id = serializers.CharField(source="uid", help_text="Begins with `dlv_`; sent as `webhook-id`.")
    batch = Reference()
    task = serializers.CharField(source="task.uid", allow_null=True, default=None, help_text="Its ID.")
    kind = serializers.ChoiceField(kinds.labels())
    event = serializers.ChoiceField(
        events.labels(), allow_blank=True, help_text="The type of a webhook message; empty for other kinds."
    )
    state = serializers.ChoiceField(Delivery.State.choices)
    attempts = serializers.IntegerField()
    last_status = serializers.IntegerField(allow_null=True)
    next_attempt_at = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, delivery: Delivery) -> Any:
        return (
            None
            if delivery.is_final
            else serializers.DateTimeField().to_representation(delivery.next_attempt_at)
        )


class DeliveryDetail(DeliveryOutput):
    """One message, its payload, and every attempt to send it."""

    payload = serializers.SerializerMethodField(
        help_text="Without the recognition result; null for a callback, whose body is built when it is sent."
    )
    log = serializers.SerializerMethodField()

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_payload(self, delivery: Delivery) -> Any:
        return json.loads(delivery.payload) if delivery.payload else None

    @extend_schema_field(AttemptOutput(many=True))
    def get_log(self, delivery: Delivery) -> Any:
        return AttemptOutput(self.context["log"], many=True, context=self.context).data


class EventOutput(Output):
    """A type of webhook event."""

    sparse = False

    type = serializers.CharField()
    title = serializers.CharField(source="label")
    contents = serializers.CharField(help_text="What `data` holds besides `account` and `batch`.")


class EventView(ApiView):
    """Types of webhook events."""

    area = "deliveries"
    output = EventOutput
    pagination_class = None

    @extend_schema(responses=EventOutput(many=True), summary="List the types of webhook events")
    def list(self, request: ApiRequest) -> Response:
        """Lists all types of this release. New releases may add types: ignore those that you don't know."""
        rows: Any = list(events.EVENTS.values())
        return Response(self.shown(rows))


class DeliveryList(ListParameters):
    orderings = ("created_at",)
    batch = serializers.CharField(required=False, help_text="The ID of a batch.")
    task = serializers.CharField(required=False, help_text="The ID of a task.")
    state = serializers.ChoiceField(Delivery.State.choices, required=False)
    event = serializers.ChoiceField(events.labels(), required=False)


class DeliveryView(ApiView):
    """Messages to receivers, and every attempt to send them."""

    area = "deliveries"
    output = DeliveryOutput
    parameter_classes = {"list": DeliveryList, "retrieve": ItemParameters}

    def deliveries(self, **chosen: Any) -> QuerySet[Delivery]:
        return webhooks.list_deliveries(self.request.account, **chosen)

    def delivery(self) -> Delivery:
        return self.found(self.deliveries(), self.kwargs["uid"])

    def detail_of(self, delivery: Delivery) -> Response:
        context = {
            "log": webhooks.attempts_of(self.request.account, delivery),
            "may_see_answers": self.request.membership.can_change,
        }
        return Response(self.shown(delivery, DeliveryDetail, **context))

    @extend_schema(responses=DeliveryOutput(many=True), summary="List deliveries")
    def list(self, request: ApiRequest) -> Response:
        asked = self.parameters
        found = self.deliveries(state=asked.get("state", ""), event=asked.get("event", ""))
        for name in ("batch", "task"):
            if uid := asked.get(name):
                found = found.filter(**{f"{name}__uid": uid})
        return self.page(found)

    @extend_schema(responses=DeliveryDetail, summary="Read a delivery")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.detail_of(self.delivery())

    @extend_schema(request=None, responses={200: DeliveryDetail}, summary="Send a delivery again")
    @action(detail=True, methods=["post"])
    @idempotent
    def redeliver(self, request: ApiRequest, uid: str) -> Response:
        """Sends the delivery again, now and by the whole retry schedule, under the same `webhook-id`."""
        redelivery.redeliver(delivery=self.delivery())
        return self.detail_of(self.delivery())


class WebhookProblem(serializers.Serializer[Any]):
    """The reason why the webhook sends nothing at present."""

    code = serializers.CharField()
    message = serializers.CharField(source="sentence")
    advice = serializers.CharField()


class WebhookOutput(Output):
    """URL, state and health of a batch's webhook."""

    sparse = False

    url = serializers.SerializerMethodField(help_text="Set on the batch. Viewers see only its host.")
    state = serializers.ChoiceField(Webhook.State.choices)
    problem = serializers.SerializerMethodField()
    failing_since = serializers.DateTimeField(allow_null=True)
    secret_shown_at = serializers.DateTimeField(allow_null=True)
    previous_secret_until = serializers.DateTimeField(
        source="previous_until",
        allow_null=True,
        help_text="Until then messages are also signed with the previous one.",
    )

    def get_url(self, webhook: Webhook) -> str:
        return webhook_url_for(self.context.get("request"), webhook.batch.webhook_url)

    @extend_schema_field(WebhookProblem(allow_null=True))
    def get_problem(self, webhook: Webhook) -> Any:
        problem = endpoint.problem_of(webhook)
        return WebhookProblem(problem).data if problem else None


class SecretOutput(serializers.Serializer[Any]):
    """The secret that signs webhook messages (Standard Webhooks). It is shown once."""

    secret = serializers.CharField(help_text="Begins with `whsec_`.")


class RedeliverInput(Input):
    since = serializers.DateTimeField()
    only_failed = StrictBooleanField(default=True, help_text="Only those that failed or were cancelled.")


class WebhookView(ApiView):
    """A batch's webhook."""

    area = "deliveries"
    output = WebhookOutput
    pagination_class = None

    def batch(self) -> Batch:
        return self.found(selectors.list_batches(self.request.account), self.kwargs["uid"])

    def webhook_response(self) -> Response:
        batch = self.batch()
        return Response(
            self.shown(webhooks.webhook_of(self.request.account, batch) or endpoint.for_batch(batch))
        )

    @extend_schema(responses=WebhookOutput, summary="Read a batch's webhook")
    def retrieve(self, request: ApiRequest, uid: str) -> Response:
        return self.webhook_response()

    @extend_schema(request=None, responses={200: SecretOutput}, summary="Get the webhook's secret, once")
    @idempotent
    def show_secret(self, request: ApiRequest, uid: str) -> Response:
        return Response({"secret": endpoint.show_secret_once(batch=self.batch())})

    @extend_schema(request=None, responses={200: SecretOutput}, summary="Get a new secret")
    @idempotent
    def rotate_secret(self, request: ApiRequest, uid: str) -> Response:
        """Replaces the secret. For 24 hours messages are also signed with the previous one."""
        endpoint.rotate_secret(batch=self.batch())
        return Response({"secret": endpoint.show_secret_once(batch=self.batch())})

    @extend_schema(request=None, responses={200: WebhookOutput}, summary="Resume sending")
    @idempotent
    def resume(self, request: ApiRequest, uid: str) -> Response:
        endpoint.resume(batch=self.batch())
        return self.webhook_response()

    @extend_schema(request=None, responses={201: DeliveryOutput}, summary="Send a test")
    @idempotent
    def test(self, request: ApiRequest, uid: str) -> Response:
        delivery = redelivery.send_test(batch=self.batch())
        return Response(self.shown(delivery, DeliveryOutput), status=201)

    @extend_schema(request=RedeliverInput, responses={200: Count}, summary="Send deliveries again")
    @idempotent
    def redeliver(self, request: ApiRequest, uid: str) -> Response:
        """Sends the messages created since a time again."""
        fields = self.read(RedeliverInput)
        return Response({"count": redelivery.redeliver_since(batch=self.batch(), **fields)})
