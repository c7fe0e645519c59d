"""Accounts in admin: limits, price and budget. Other apps add their actions and figures."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.members import two_factor_duty
from speechportal.accounts.models import Account, AccountProvider, ApiToken, Membership
from speechportal.support.actions import Action, ReasonForm
from speechportal.support.admin import PortalModelAdmin, link_to, link_to_list

# Summary of an account's page, extended by other apps: callables from an account to (label, value) pairs.
account_summaries: list[Callable[[Account], list[tuple[Any, Any]]]] = []


class BatchLimitForm(ReasonForm):
    batch_limit = forms.IntegerField(label=_("Batch limit"), min_value=0, max_value=100_000)
    field_order = ["batch_limit", "reason"]


class SetBatchLimit(Action):
    name, label = "batch_limit", _("Set the batch limit")
    description = _("How many batches the account may have at once. Batches above a lower limit stay.")
    permission = "accounts.change_limits"
    form_class = BatchLimitForm

    def initial(self, row: Account) -> dict[str, Any]:
        return {"batch_limit": row.batch_limit}

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        change(row, batch_limit=answers["batch_limit"])
        limit = row.batch_limit
        sentence = ngettext(
            "The account may now have %d batch.", "The account may now have %d batches.", limit
        )
        return sentence % limit


class PriceForm(ReasonForm):
    price_per_file = forms.DecimalField(
        label=_("Price per file"), min_value=Decimal(0), max_digits=12, decimal_places=4
    )
    field_order = ["price_per_file", "reason"]


class SetPrice(Action):
    name, label = "price", _("Set the price")
    description = _("For files that finish from now on; charges that were made stay.")
    permission = "accounts.change_price"
    form_class = PriceForm

    def initial(self, row: Account) -> dict[str, Any]:
        return {"price_per_file": row.price_per_file}

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        change(row, price_per_file=answers["price_per_file"])
        return gettext("A file now costs %(price)s %(currency)s.") % {
            "price": row.price_per_file,
            "currency": row.currency,
        }


class BudgetForm(ReasonForm):
    monthly_budget = forms.DecimalField(
        label=_("Monthly budget"),
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=2,
        required=False,
        help_text=_("Empty for none."),
    )
    field_order = ["monthly_budget", "reason"]


class SetBudget(Action):
    name, label = "budget", _("Set the budget")
    description = _(
        "Charges of a calendar month never exceed it; months begin at midnight in the account’s time zone."
    )
    permission = "accounts.change_price"
    form_class = BudgetForm

    def initial(self, row: Account) -> dict[str, Any]:
        return {"monthly_budget": row.monthly_budget}

    def perform(self, row: Account, answers: dict[str, Any]) -> str:
        change(row, monthly_budget=answers["monthly_budget"])
        return gettext("The budget was saved.")


def change(account: Account, **fields: Any) -> None:
    """Validate and save the given fields. Raises ``ValidationError``."""
    with transaction.atomic():
        for name, value in fields.items():
            setattr(account, name, value)
        account.clean_fields(exclude=[each.name for each in Account._meta.fields if each.name not in fields])
        account.save(update_fields=list(fields))


@admin.register(Account)
class AccountAdmin(PortalModelAdmin[Account]):
    find_part = ("name",)
    list_display = ["name", "uid", "state", "batches", "member_count", "batch_limit", "price", "created_at"]
    list_filter: ClassVar[list[Any]] = []
    # Limits, price and budget are changed by actions, each with a form of its own.
    fields = ["name", "time_zone", "currency", "batch_limit", "price_per_file", "transcript_days", "log_days"]
    fields += ["single_sign_on_only", "two_factor_required"]
    portal_actions: ClassVar[list[type[Action]]] = [SetBatchLimit, SetPrice, SetBudget]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        return super().get_queryset(request).annotate(found_members=Count("memberships"))

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        if obj is not None:
            return ["currency", "batch_limit", "price_per_file", "transcript_days", "log_days"]
        allowed = [
            ("accounts.change_limits", ["batch_limit"]),
            ("accounts.change_price", ["price_per_file", "currency"]),
        ]
        closed = [names for permission, names in allowed if not request.user.has_perm(permission)]
        return [*(name for names in closed for name in names), "transcript_days", "log_days"]

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.two_factor_required and "two_factor_required" in form.changed_data:
            two_factor_duty.notify_missing(obj)

    @admin.display(description=_("state"))
    def state(self, account: Account) -> str:
        return state_of(account)

    @admin.display(description=_("members"))
    def member_count(self, account: Account) -> str:
        return link_to_list(Membership, account.found_members, account=account.uid)  # type: ignore[attr-defined] # annotated

    @admin.display(description=_("batches"))
    def batches(self, account: Account) -> Any:
        return batch_cell(account)

    @admin.display(description=_("price per file"))
    def price(self, account: Account) -> str:
        return f"{account.price_per_file.normalize():f} {account.currency}"

    def summary(self, row: Account) -> list[tuple[Any, Any]]:
        budget = _("none") if row.monthly_budget is None else f"{row.monthly_budget} {row.currency}"
        reading = row.support_reads_until if row.support_may_read else _("not allowed")
        own: list[tuple[Any, Any]] = [
            (_("ID"), row.uid),
            (_("State"), state_of(row)),
            (_("Members"), link_to_list(Membership, row.memberships.count(), account=row.uid)),
            (_("Members without a second factor"), two_factor_duty.missing(row).count()),
            (_("Break-glass owners"), ", ".join(_glass(row)) or "–"),
            (_("Company sign-in"), link_to(AccountProvider.unscoped.filter(account=row).first())),
            (_("API tokens"), link_to_list(ApiToken, row.api_tokens.count(), account=row.uid)),
            (_("Monthly budget"), budget),
            (_("Transcripts may be read until"), reading),
        ]
        return [*own, *(pair for each in account_summaries for pair in each(row))]


def _glass(account: Account) -> list[str]:
    found = Membership.objects.filter(account=account, breaks_glass=True, role=Membership.Role.OWNER)
    return list(found.values_list("user__email", flat=True))


def state_of(account: Account) -> str:
    if account.closed_at is not None:
        return gettext("Closed")
    return gettext("Suspended") if account.is_suspended else gettext("Active")


def _no_batches(_account: Account) -> Any:
    return "–"


# Cell of a list with an account's batches; replaced by the app of batches.
batch_cell: Callable[[Account], Any] = _no_batches
