"""Deliveries and webhooks in admin, without secrets, URLs and receivers' responses."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.admin.acknowledged import acknowledgement
from batches.models import ClientRequest, Delivery, DeliveryAttempt, Webhook
from batches.webhooks import events, kinds, redelivery
from speechportal.support.actions import Action
from speechportal.support.admin import ReadOnlyAdmin, link_to, link_to_list
from speechportal.support.lists import choices, neighbour


class Redeliver(Action):
    name, label = "redeliver", _("Redeliver")
    description = _("Send again, now and by the whole schedule. Its ID stays, so the receiver can know it.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Delivery) -> bool:
        return row.state != Delivery.State.SENDING

    def perform(self, row: Delivery, answers: dict[str, Any]) -> str:
        redelivery.redeliver(delivery=row)
        return gettext("It is sent again.")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    find_exact = ("uid", "account__uid", "batch__uid")
    list_display = [
        "title",
        "uid",
        "account",
        "batch",
        "state",
        "attempts",
        "last_status",
        "created_at",
        "ended_at",
    ]
    list_select_related = ["account", "batch"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("batch", "batch__uid", _("batch")),
        neighbour("task", "task__uid", _("task")),
        choices("kind", _("kind"), kinds.labels),
        choices("event", _("event"), events.labels),
        choices("state", _("state"), lambda: list(Delivery.State.choices), Delivery.State.DELIVERED),
    ]
    fields = [
        ("kind", "event", "about"),
        ("state", "attempts", "next_attempt_at"),
        ("last_status", "last_error"),
        ("created_at", "ended_at"),
    ]
    portal_actions = [Redeliver]

    @admin.display(description=_("event"), ordering="event")
    def title(self, row: Delivery) -> str:
        return str(kinds.title_of(row))

    def summary(self, row: Delivery) -> list[tuple[Any, Any]]:
        return [
            (_("ID"), row.uid),
            (_("State"), row.get_state_display()),
            *acknowledgement(row),
            (_("Account"), link_to(row.account)),
            (_("Batch"), link_to(row.batch)),
            (_("Task"), link_to(row.task)),
            (_("Attempts"), link_to_list(DeliveryAttempt, row.attempts, delivery=row.uid)),
        ]


@admin.register(DeliveryAttempt)
class DeliveryAttemptAdmin(ReadOnlyAdmin[DeliveryAttempt]):
    find_exact = ("delivery__uid",)
    list_display = ["delivery", "number", "started_at", "duration", "status", "error_code"]
    list_select_related = ["delivery"]
    list_filter = [neighbour("delivery", "delivery__uid", _("delivery"))]
    fields = ["number", "started_at", "duration", "status", "error_code", "error"]

    def summary(self, row: DeliveryAttempt) -> list[tuple[Any, Any]]:
        return [(_("Delivery"), link_to(row.delivery))]

    def find(self, request: HttpRequest, text: str) -> list[DeliveryAttempt]:
        return []


@admin.register(Webhook)
class WebhookAdmin(ReadOnlyAdmin[Webhook]):
    find_exact = ("batch__uid",)
    list_display = ["batch", "state", "failing_since", "stopped_at", "last_problem"]
    list_select_related = ["batch"]
    list_filter = [choices("state", _("state"), lambda: list(Webhook.State.choices))]
    fields = [
        ("state", "stopped_at"),
        ("last_problem", "failing_since", "last_failed_at", "held_until"),
        ("secret_shown_at", "previous_until", "created_at"),
    ]

    def summary(self, row: Webhook) -> list[tuple[Any, Any]]:
        return [
            (_("Batch"), link_to(row.batch)),
            (_("Account"), link_to(row.batch.account)),
            *acknowledgement(row),
            (_("Deliveries"), link_to_list(Delivery, _("list"), batch=row.batch.uid)),
        ]

    def find(self, request: HttpRequest, text: str) -> list[Webhook]:
        return []


@admin.register(ClientRequest)
class ClientRequestAdmin(ReadOnlyAdmin[ClientRequest]):
    """Requests to the CLOVA and OpenAI APIs. A callback's URL is hidden, since it may contain a secret."""

    find_exact = ("task__uid",)
    list_display = ["task", "interface", "callback_queued_at", "created_at"]
    list_select_related = ["task"]
    fields = [("interface", "ignored"), ("callback_queued_at", "created_at")]

    def summary(self, row: ClientRequest) -> list[tuple[Any, Any]]:
        return [
            (_("Task"), link_to(row.task)),
            (_("Account"), link_to(row.task.account)),
            (_("Deliveries"), link_to_list(Delivery, _("list"), task=row.task.uid)),
        ]

    def find(self, request: HttpRequest, text: str) -> list[ClientRequest]:
        return []
