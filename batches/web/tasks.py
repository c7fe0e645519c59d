"""Pages of a task: its detail and history, and actions that retry, cancel or repeat it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from batches.models import Charge, ResultFile, Task, TaskAttempt
from batches.operations import progress_forecast
from batches.services import acknowledgements, selected_tasks
from batches.services import tasks as task_services
from batches.status.failures import failure_of_task
from batches.transcripts import originals, recordings
from batches.web.fragments import render_live
from batches.web.transcripts import any_task, reading_context
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.models import AuditEntry
from speechportal.accounts.requests import PortalRequest

SHOWN_ACTIONS = 20  # latest actions of members in the history; the Activity page has all of them
UNPLAYABLE = {"empty_file", "input_missing", "no_audio", "not_media"}


@dataclass(frozen=True)
class Event:
    what: str | Promise
    when: datetime
    kind: str = ""  # a state, which decides the colour of the dot
    who: str = ""  # the member who did it


@member_required
def task_detail(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    task = any_task(request, uid, task_uid)
    account = request.account
    context = {
        "task": task,
        "batch": task.batch,
        "cause": failure_of_task(task),
        "acknowledged_by": acknowledgements.entry_of(task),
        "events": _events(task),
        "attempts": [
            (attempt, failure_of_task(attempt))
            for attempt in TaskAttempt.objects.for_account(account).filter(task=task)
        ],
        "place": progress_forecast.place_of(task),
        "charge": Charge.objects.for_account(account).filter(task=task).first(),
        "result_files": ResultFile.objects.for_account(account).filter(task=task, written_at__isnull=False),
        "original": task.original,
        "ignored": ", ".join(task.client_request.ignored) if hasattr(task, "client_request") else "",
        "repeats": Task.objects.for_account(account).filter(original=task).order_by("pk"),
        "can_play": _can_play(request, task),
        "editable": request.membership.can_change,
        **reading_context(request, task),
    }
    response = render_live(request, "batches/task.html", "batches/_task.html", context)
    if task.is_final and request.headers.get("HX-Request"):
        response["HX-Refresh"] = "true"  # The task has ended: reload the page, with player and tools.
    return response


def _can_play(request: PortalRequest, task: Task) -> bool:
    """Whether there is a recording that the member may play."""
    if task.connection_id is None or task.error_code in UNPLAYABLE:
        return False
    return originals.may_see(task, request.membership) or recordings.key_for_members(task) is not None


def _events(task: Task) -> list[Event]:
    """History of the task, with members' actions on it, in chronological order."""
    ends: dict[str, str | Promise] = {
        Task.State.COMPLETED: gettext_lazy("Completed"),
        Task.State.FAILED: gettext_lazy("Failed"),
        Task.State.CANCELLED: gettext_lazy("Cancelled"),
    }
    result = task.execution_result
    actions = AuditEntry.objects.for_account(task.account).filter(target_uid=task.uid).select_related("actor")
    moments: list[tuple[str | Promise, datetime | None, str]] = [
        (gettext_lazy("File last written"), task.input_modified_at, ""),
        (gettext_lazy("Discovered"), task.created_at, ""),
        (gettext_lazy("Started"), task.started_at, "in_progress"),
        (ends.get(task.state, ""), task.finished_at, task.state),
        (gettext_lazy("Input file moved"), task.moved_at, ""),
        (gettext_lazy("Reported in an execution result"), result.written_at if result else None, ""),
    ]
    events = [Event(what, when, kind) for what, when, kind in moments if when is not None]
    for entry in reversed(actions[:SHOWN_ACTIONS]):
        # Inserted instead of sorted: the first event's time is from the storage's clock, which may differ.
        before = [at for at, event in enumerate(events) if event.when <= entry.created_at]
        event = Event(entry.verb_label.capitalize(), entry.created_at, who=entry.who)
        events.insert(before[-1] + 1 if before else 0, event)
    return events


@manager_required
@require_POST
def task_retry(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    return _act(
        request,
        any_task(request, uid, task_uid),
        lambda task: task_services.retry_task(task=task),
        _("The task waits for its turn again. It will not be charged twice."),
    )


@manager_required
@require_POST
def task_cancel(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    return _act(
        request,
        any_task(request, uid, task_uid),
        lambda task: task_services.cancel_task(task=task),
        _("The task is cancelled. Its input file stays where it is."),
    )


@manager_required
@require_POST
def task_acknowledge(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Mark the failure as seen, with the form's note; Home no longer lists it."""
    note = request.POST.get("note", "").replace("\0", "").strip()
    return _act(
        request,
        any_task(request, uid, task_uid),
        lambda task: selected_tasks.acknowledge_task(task=task, note=note),
        _("The failure was acknowledged."),
    )


@manager_required
def task_repeat(request: PortalRequest, uid: str, task_uid: str) -> HttpResponse:
    """Recognise a file again as a new task with the batch's present settings.

    There is a confirmation page, since the new task is charged.
    """
    task = any_task(request, uid, task_uid)
    if request.method != "POST":
        return render(request, "batches/repeat.html", {"task": task, "batch": task.batch})
    return _act(
        request,
        task,
        lambda task: task_services.recognise_again(task=task),
        _("The file is recognised again, as a task of its own. This transcript stays."),
    )


def _act(
    request: PortalRequest, task: Task, act: Callable[[Task], Task | None], success: str
) -> HttpResponse:
    """Perform an action, add a message with its success or refusal, and redirect to the resulting task."""
    try:
        task = act(task) or task
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    else:
        messages.success(request, success)
    return redirect("batches:task", task.batch.uid, task.uid)
