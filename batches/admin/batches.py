"""Batches in admin: created and changed by the services that members use, with the same rules."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from batches.admin.accounts import shown
from batches.admin.acknowledged import acknowledgement
from batches.intake import left_alone, poll_schedule
from batches.models import (
    Batch,
    Charge,
    ConnectionBackoff,
    Delivery,
    ExecutionResult,
    PendingFile,
    ProcessedFolder,
    Task,
)
from batches.models.recognition_settings import SETTINGS
from batches.services import batches as batch_services
from batches.services import selectors
from batches.services import tasks as task_services
from batches.web.forms import COPIED, RecognitionFields, csv_columns_field, formats_field
from batches.webhooks import endpoint
from speechportal.accounts.audit import trail
from speechportal.accounts.models import Account
from speechportal.storage.models import Connection
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, ReadOnlyAdmin, ReasonedForm, link_to, link_to_list
from speechportal.support.lists import bounded_count, choices, neighbour


class BatchAdminForm(RecognitionFields, ReasonedForm):
    """Form of a batch. It offers the domains and connections of ``account``, which is chosen first."""

    account: Account | None = None
    formats = formats_field()
    csv_columns = csv_columns_field()

    class Meta:
        model = Batch
        fields = ["name", "domain", *COPIED, "takes_requests"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        account = self.account or self.instance.account
        self.instance.account = account
        batch = self.instance if self.instance.pk else None
        for name, queryset in (
            ("domain", selectors.choosable_domains(account, batch)),
            ("connection", Connection.objects.for_account(account)),
        ):
            if isinstance(field := self.fields.get(name), forms.ModelChoiceField):
                field.queryset = queryset
                field.required = True


class PollNow(Action):
    name, label = "poll", _("Poll now")
    description = _("Look at the input path as soon as a worker is free.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        if row.is_deleted:
            raise ValidationError(_("The batch was deleted."))
        trail.record("batch.polled", row)
        poll_schedule.wake(row.pk)
        return gettext("The input path is looked at as soon as a worker is free.")


class RetryFailed(Action):
    name, label = "retry_failed", _("Retry failed tasks")
    description = _("All that failed and can run again does. Nothing is charged twice.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        done = task_services.retry_failed(batch=row)
        return ngettext("%d task runs again.", "%d tasks run again.", done) % done


class CancelWaiting(Action):
    name, label = "cancel_waiting", _("Cancel waiting tasks")
    description = _("Their input files stay where they are.")
    permission = "accounts.operate_batches"
    dangerous = True

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        done = task_services.cancel_waiting(batch=row)
        return ngettext("%d task was cancelled.", "%d tasks were cancelled.", done) % done


class Pause(Action):
    name, label = "pause", _("Pause")
    description = _("Stop looking at the input path and starting tasks; what is in progress ends.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted and row.paused_at is None

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        task_services.pause_batch(batch=row)
        return gettext("The batch is paused.")


class Resume(Action):
    name, label = "resume", _("Resume")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted and row.paused_at is not None

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        task_services.resume_batch(batch=row)
        return gettext("The batch goes on.")


class RotateWebhookSecret(Action):
    name, label = "rotate_webhook_secret", _("Rotate webhook secret")
    description = _(
        "The old secret signs beside the new one for a day. Members are shown the new one once; staff never."
    )
    permission = "accounts.rotate_secrets"
    dangerous = True

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted and bool(row.webhook_url)

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        endpoint.rotate_secret(batch=row)
        return gettext("The webhook has a new secret; a member can see it once.")


class ResumeWebhook(Action):
    name, label = "resume_webhook", _("Resume webhook")
    description = _("Send again to a receiver that was paused, that answered 410, or that asked for time.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Batch) -> bool:
        hook = getattr(row, "webhook", None)
        return not row.is_deleted and hook is not None and not hook.is_active

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        endpoint.resume(batch=row)
        return gettext("Its deliveries are sent again.")


class DeleteBatch(Action):
    name, label = "delete", _("Delete")
    description = _("Cancels its unfinished tasks. Files in the storage, results and charges stay.")
    permission = "batches.delete_batch"
    dangerous = True

    def applies_to(self, row: Batch) -> bool:
        return not row.is_deleted

    def perform(self, row: Batch, answers: dict[str, Any]) -> str:
        batch_services.delete_batch(batch=row)
        return gettext("The batch was deleted.")


@admin.register(Batch)
class BatchAdmin(PortalModelAdmin[Batch]):
    form = BatchAdminForm
    find_exact = ("uid", "account__uid", "domain__uid")
    find_part = ("name", "domain__name", "domain__code")
    list_display = ["name", "uid", "account", "domain", "state", "files", "polled_at", "created_at"]
    list_select_related = ["account", "domain", "connection"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("connection", "connection__uid", _("connection")),
        choices("status", _("status"), lambda: list(Batch.Status.choices)),
    ]
    fields = (*BatchAdminForm.Meta.fields, *SETTINGS)
    portal_actions = [
        PollNow,
        RetryFailed,
        CancelWaiting,
        Pause,
        Resume,
        RotateWebhookSecret,
        ResumeWebhook,
        DeleteBatch,
    ]

    @admin.display(description=_("status"))
    def state(self, batch: Batch) -> str:
        return state_of(batch)

    @admin.display(description=_("files"))
    def files(self, batch: Batch) -> str:
        return link_to_list(Task, f"{batch.last_task_order:,}", batch=batch.uid)

    def has_change_permission(self, request: HttpRequest, obj: Batch | None = None) -> bool:
        return not (obj is not None and obj.is_deleted) and super().has_change_permission(request, obj)

    def summary(self, row: Batch) -> list[tuple[Any, Any]]:
        tasks = Task.unscoped.filter(batch=row)
        counts = [
            (
                state.label,
                link_to_list(
                    Task, shown(*bounded_count(tasks.filter(state=state))), batch=row.uid, state=state.value
                ),
            )
            for state in (Task.State.WAITING, Task.State.IN_PROGRESS, Task.State.FAILED)
        ]
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Status"), state_of(row)),
            *acknowledgement(row),
            (_("Found"), link_to_list(Task, f"{row.last_task_order:,}", batch=row.uid)),
            *counts,
            (_("Last look at the input path"), row.polled_at),
            *((each.title, f"{each.count}: {', '.join(each.names)}") for each in left_alone.groups(row)),
            (_("Next look"), row.next_poll_at),
            (_("Domain"), link_to(row.domain)),
            (_("Connection"), link_to(row.connection)),
            (_("Execution results"), link_to_list(ExecutionResult, _("list"), batch=row.uid)),
            (_("Deliveries"), link_to_list(Delivery, _("list"), batch=row.uid)),
            (_("Charges"), link_to_list(Charge, _("list"), batch=row.uid)),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Batch | None = None) -> list[str]:
        """Make the webhook URL read-only unless staff may read transcripts, which webhooks contain."""
        account = obj.account if obj is not None else self._account(request)
        return [] if account is not None and account.support_may_read else ["webhook_url"]

    # --- Adding: the account first, since all other choices depend on it ----------------------------

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if self._account(request) is None and self.has_add_permission(request):
            if request.GET.get("account"):
                return redirect(f"{reverse('admin:accounts_account_changelist')}?q={request.GET['account']}")
            context = {
                **self.admin_site.each_context(request),
                "title": _("Whose batch?"),
                "opts": self.opts,
                "accounts": Account.objects.filter(closed_at=None).order_by("-pk")[:200],
            }
            return render(request, "admin/portal/choose_account.html", context)
        return super().add_view(request, form_url, extra_context)

    def _account(self, request: HttpRequest) -> Account | None:
        return Account.objects.filter(uid=request.GET.get("account", ""), closed_at=None).first()

    def get_form(
        self, request: HttpRequest, obj: Batch | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None:
            form.account = self._account(request)
        return form

    def save_model(self, request: HttpRequest, obj: Batch, form: Any, change: bool) -> None:
        names = [*BatchAdminForm.Meta.fields, "recognition"]
        given = {name: form.cleaned_data[name] for name in names if name in form.cleaned_data}
        if change:
            saved = batch_services.update_batch(batch=obj, **given)
        else:
            saved = batch_services.create_batch(account=obj.account, **given)
        obj.__dict__.update(saved.__dict__)


def state_of(batch: Batch) -> str:
    if batch.is_deleted:
        return gettext("Deleted")
    if batch.status == Batch.Status.ERROR:
        return f"{batch.get_status_display()}: {batch.cause}"
    return gettext("Paused") if batch.paused_at else batch.get_status_display()


@admin.register(ProcessedFolder)
class ProcessedFolderAdmin(ReadOnlyAdmin[ProcessedFolder]):
    find_exact = ("connection__uid", "path")
    list_display = ["path", "connection"]
    list_select_related = ["connection"]
    fields = ["path"]

    def summary(self, row: ProcessedFolder) -> list[tuple[Any, Any]]:
        return [(_("Connection"), link_to(row.connection))]

    def find(self, request: HttpRequest, text: str) -> list[ProcessedFolder]:
        return []


@admin.register(PendingFile)
class PendingFileAdmin(ReadOnlyAdmin[PendingFile]):
    """Files that only one poll has seen, so that they may still be growing. Read-only."""

    find_exact = ("batch__uid",)
    list_display = ["key", "batch", "size", "modified_at", "seen_at"]
    list_select_related = ["batch"]
    list_filter = [neighbour("batch", "batch__uid", _("batch"))]
    fields = ["key", "size", "modified_at", "seen_at"]

    def summary(self, row: PendingFile) -> list[tuple[Any, Any]]:
        return [(_("Batch"), link_to(row.batch))]

    def find(self, request: HttpRequest, text: str) -> list[PendingFile]:
        return []


@admin.register(ConnectionBackoff)
class ConnectionBackoffAdmin(ReadOnlyAdmin[ConnectionBackoff]):
    """Connections in back-off, and when they are tried again. Read-only."""

    find_exact = ("connection__uid", "code")
    list_display = ["connection", "code", "failures", "since", "seen_at", "retry_at"]
    list_select_related = ["connection"]
    fields = ["code", "failures", "since", "seen_at", "retry_at"]

    def summary(self, row: ConnectionBackoff) -> list[tuple[Any, Any]]:
        return [(_("Connection"), link_to(row.connection)), (_("Account"), link_to(row.connection.account))]

    def find(self, request: HttpRequest, text: str) -> list[ConnectionBackoff]:
        return []
