"""Tasks in admin, up to millions: found by ID, by the start of their name, or by part of a recent name."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from batches.admin.acknowledged import acknowledgement
from batches.models import Charge, Delivery, ResultFile, StoredTranscript, Task
from batches.services import tasks as task_services
from batches.worker import adoption
from speechportal.storage.errors import StorageError
from speechportal.support.actions import Action
from speechportal.support.admin import ReadOnlyAdmin, link_to, link_to_list
from speechportal.support.lists import choices, file_at, having, neighbour

RECENT = 20_000  # number of newest tasks that are searched for any part of a name


class RetryTask(Action):
    name, label = "retry", _("Retry")
    description = _("With the batch’s present settings. It is charged once, however often it runs.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Task) -> bool:
        return row.state in {Task.State.FAILED, Task.State.CANCELLED}

    def perform(self, row: Task, answers: dict[str, Any]) -> str:
        task_services.retry_task(task=row)
        return gettext("The task waits for its turn again.")


class CancelTask(Action):
    name, label = "cancel", _("Cancel")
    description = _("A task in progress ends as soon as its worker notices. The input file stays.")
    permission = "accounts.operate_batches"
    dangerous = True

    def applies_to(self, row: Task) -> bool:
        return not row.is_final

    def perform(self, row: Task, answers: dict[str, Any]) -> str:
        return str(task_services.cancel_task(task=row).get_state_display())


class RecogniseAgain(Action):
    name, label = "recognise_again", _("Recognise again")
    description = _("A new task with the batch’s present settings, and a charge of its own.")
    permission = "accounts.operate_batches"

    def applies_to(self, row: Task) -> bool:
        return row.state == Task.State.COMPLETED

    def perform(self, row: Task, answers: dict[str, Any]) -> str:
        return gettext("The new task is %s.") % task_services.recognise_again(task=row).uid


class AdoptResult(Action):
    name, label = "adopt_result", _("Adopt the result in the storage")
    description = _(
        "For tasks that were finished after the backup from which the database was restored. Their result"
        " files are looked for in the storage; nothing is recognised again or charged twice."
    )
    permission = "accounts.operate_batches"

    def applies_to(self, row: Task) -> bool:
        return row.state == Task.State.FAILED and row.error_code in adoption.ADOPTABLE

    def perform(self, row: Task, answers: dict[str, Any]) -> str:
        try:
            adoption.adopt(row)
        except StorageError as error:
            raise ValidationError(str(error)) from error
        return gettext("It is completed with the result of its storage.")


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin[Task]):
    find_exact = ("uid", "batch__uid", "account__uid")
    find_beginning = ("name",)
    list_display = [
        "name",
        "uid",
        "account",
        "batch",
        "state_shown",
        "attempts",
        "error_code",
        "created_at",
        "finished_at",
    ]
    list_select_related = ["account", "batch"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("batch", "batch__uid", _("batch")),
        neighbour("execution_result", "execution_result__uid", _("execution result")),
        choices("state", _("state"), lambda: list(Task.State.choices)),
    ]
    fields = [
        "name",
        "task_order",
        ("state", "stage", "progress"),
        ("attempts", "delays", "available_at"),
        ("worker", "lease_expires_at"),
        ("error_code", "error_message"),
        "error_details",
        ("input_key", "input_size", "input_modified_at"),
        ("moved_key", "moved_at", "move_attempts", "move_due_at"),
        "settings",
        ("whisper_model", "speaker_model"),
        "media_duration",
        ("created_at", "started_at", "finished_at"),
    ]
    portal_actions = [RetryTask, CancelTask, RecogniseAgain, AdoptResult]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        return super().get_queryset(request).defer("settings", "error_details")

    def matching(self, queryset: QuerySet[Task], text: str) -> Q:
        """Condition for a search: an ID, else the start of a name or any part of a recent name."""
        kinds = {"tsk_": "uid", "bat_": "batch__uid", "acc_": "account__uid"}
        for prefix, field in kinds.items():
            if text.startswith(prefix):
                return having(Task, field, text)
        newest = Task.unscoped.order_by("-pk").values_list("pk", flat=True)[:1].first() or 0
        recent = Q(pk__gt=newest - RECENT, name__icontains=text)
        return Q(pk__in=self._beginning(queryset, text)) | recent

    def _beginning(self, queryset: QuerySet[Task], text: str) -> list[int]:
        from speechportal.support.lists import beginning_with

        found = Task.unscoped.filter(beginning_with(queryset, "name", text))
        return list(found.order_by("name").values_list("pk", flat=True)[:500])

    @admin.display(description=_("state"))
    def state_shown(self, task: Task) -> str:
        if task.state == Task.State.IN_PROGRESS:
            return f"{task.get_stage_display()} {task.progress} %"
        return task.get_state_display()

    def summary(self, row: Task) -> list[tuple[Any, Any]]:
        files = format_html_join(
            ", ", "{}", ((link_to(each, each.format),) for each in row.result_files.all())
        )
        return [
            (_("ID"), row.uid),
            (_("State"), self.state_shown(row)),
            *acknowledgement(row),
            (_("Account"), link_to(row.account)),
            (_("Batch"), link_to(row.batch)),
            (_("Connection"), link_to(row.connection)),
            (_("Result files"), files or "–"),
            (
                _("Transcript"),
                link_to(
                    StoredTranscript.unscoped.filter(task=row).defer("document").first(), gettext("kept")
                ),
            ),
            (_("Charge"), link_to(Charge.unscoped.filter(task=row).first())),
            (_("Execution result"), link_to(row.execution_result)),
            (_("Deliveries"), link_to_list(Delivery, row.deliveries.count(), task=row.uid)),
            (_("Repeats"), link_to(row.original)),
        ]

    def found_as(self, row: Task) -> list[Any]:
        return [row.uid, row.name, f"{row.account} · {row.batch} · {row.get_state_display()}"]


@admin.register(ResultFile)
class ResultFileAdmin(ReadOnlyAdmin[ResultFile]):
    find_exact = ("task__uid",)
    list_display = ["key", "format", "task", "size", "written_at"]
    list_select_related = ["task"]
    list_filter = [neighbour("task", "task__uid", _("task"))]
    fields = ["format", "key", "size", "written_at"]

    def summary(self, row: ResultFile) -> list[tuple[Any, Any]]:
        return [(_("Task"), link_to(row.task)), (_("Connection"), link_to(row.connection))]

    def matching(self, queryset: QuerySet[ResultFile], text: str) -> Q:
        return super().matching(queryset, text) | file_at(ResultFile, text)

    def found_as(self, row: ResultFile) -> list[Any]:
        return [row.format, row.key, ""]
