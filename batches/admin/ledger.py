"""Execution results, charges and adjustments in admin; each adjustment is a row of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.billing import adjustments
from batches.models import Adjustment, Charge, ExecutionResult, Task
from speechportal.support.actions import Action, ReasonForm
from speechportal.support.admin import ReadOnlyAdmin, link_to, link_to_list
from speechportal.support.lists import file_at, neighbour


class AdjustForm(ReasonForm):
    amount = forms.DecimalField(
        label=_("Amount"),
        max_digits=12,
        decimal_places=4,
        help_text=_("Below zero gives money back; no more than was charged."),
    )
    field_order = ["amount", "reason"]


class Adjust(Action):
    name, label = "adjust", _("Correct")
    description = _("The charge stays as it is; the correction is a row of its own beside it.")
    permission = "accounts.change_price"
    form_class = AdjustForm

    def initial(self, row: Charge) -> dict[str, Any]:
        return {"amount": -adjustments.net_of(row)}

    def perform(self, row: Charge, answers: dict[str, Any]) -> str:
        amount: Decimal = answers["amount"]
        made = adjustments.adjust(charge=row, amount=amount, reason=answers["reason"])
        return gettext("Corrected by %(amount)s %(currency)s.") % {
            "amount": made.amount,
            "currency": made.currency,
        }


@admin.register(Charge)
class ChargeAdmin(ReadOnlyAdmin[Charge]):
    find_exact = ("uid", "task__uid", "batch__uid", "account__uid")
    list_display = ["created_at", "uid", "account", "batch_name", "input_name", "amount", "currency"]
    list_select_related = ["account"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("batch", "batch__uid", _("batch")),
    ]
    fields = [
        "input_name",
        "batch_name",
        "domain_code",
        ("whisper_model", "speaker_model"),
        "media_duration",
        ("amount", "currency"),
        "created_at",
    ]
    portal_actions = [Adjust]

    def summary(self, row: Charge) -> list[tuple[Any, Any]]:
        corrections = Adjustment.unscoped.filter(charge=row)
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Batch"), link_to(row.batch)),
            (_("Task"), link_to(row.task)),
            (_("Corrections"), link_to_list(Adjustment, corrections.count(), charge=row.uid)),
            (_("After corrections"), f"{adjustments.net_of(row)} {row.currency}"),
        ]


@admin.register(Adjustment)
class AdjustmentAdmin(ReadOnlyAdmin[Adjustment]):
    find_exact = ("uid", "charge__uid", "account__uid")
    list_display = ["created_at", "uid", "account", "charge", "amount", "currency", "reason"]
    list_select_related = ["account", "charge"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("charge", "charge__uid", _("charge")),
    ]
    fields = [("amount", "currency"), "reason", "created_at"]

    def summary(self, row: Adjustment) -> list[tuple[Any, Any]]:
        return [(_("Charge"), link_to(row.charge)), (_("Account"), link_to(row.account))]


@admin.register(ExecutionResult)
class ExecutionResultAdmin(ReadOnlyAdmin[ExecutionResult]):
    find_exact = ("uid", "batch__uid", "account__uid")
    list_display = ["created_at", "uid", "account", "batch", "number", "task_count", "written_at"]
    list_select_related = ["account", "batch"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("batch", "batch__uid", _("batch")),
    ]
    fields = ["number", "task_count", "key", ("attempts", "due_at"), ("created_at", "written_at")]

    def summary(self, row: ExecutionResult) -> list[tuple[Any, Any]]:
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Batch"), link_to(row.batch)),
            (_("Tasks"), link_to_list(Task, row.task_count, execution_result=row.uid)),
        ]

    def matching(self, queryset: QuerySet[ExecutionResult], text: str) -> Q:
        return super().matching(queryset, text) | file_at(ExecutionResult, text)

    def find(self, request: HttpRequest, text: str) -> list[ExecutionResult]:
        """Find by the execution result's own ID or file name."""
        return super().find(request, text) if text.startswith("exr_") or text.endswith(".csv") else []
