"""Bulk actions on the tasks of a batch: confirmation page, action, ZIP download and CSV export."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import F, QuerySet
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.models import Batch, Task
from batches.services import selected_tasks
from batches.services import tasks as task_services
from batches.services.task_filters import TaskFilter
from batches.transcripts import archive
from batches.web.batches import any_batch
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.requests import PortalRequest
from speechportal.platform.http import csv_download, neutral

MOST_SELECTED = 200  # tasks in one request; a page shows fewer
EXPORTED = [
    "id",
    "task order",
    "input file name",
    "state",
    "media duration (ms)",
    "size (bytes)",
    "language",
    "speakers",
    "model",
    "error code",
    "discovered",
    "started",
    "finished",
]


@manager_required
def act(request: PortalRequest, uid: str, action: str) -> HttpResponse:
    """Confirm (GET) and perform (POST) an action on tasks of a batch.

    ``task=<ID>``, repeated, selects the tasks; with ``all=1`` all that match the filter are selected.
    """
    if action not in selected_tasks.ACTIONS:
        raise Http404
    live = Batch.objects.for_account(request.account).live().select_related("account")
    batch = get_object_or_404(live, uid=uid)
    given = request.POST if request.method == "POST" else request.GET
    chosen = TaskFilter.from_query(given)
    selected = _selected(batch, given)
    matching = chosen.apply(batch)
    if request.method != "POST":
        return _ask(request, batch, action, selected, matching, chosen)
    tasks = matching if given.get("all") else selected
    extra = {"note": given.get("note", "").replace("\0", "").strip()} if action == "acknowledge" else {}
    try:
        outcome = selected_tasks.ACTIONS[action](batch=batch, tasks=tasks, **extra)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        _report(request, action, outcome)
    query = QueryDict(mutable=True)
    query.update(chosen.to_query())
    address = reverse("batches:detail", args=[uid])
    return redirect(f"{address}?{query.urlencode()}" if query else address)


@member_required
def download(request: PortalRequest, uid: str) -> HttpResponseBase:
    """ZIP file with the results of the newest finished tasks, among the selected or all that match."""
    batch, tasks = _chosen(request, uid)
    ended = tasks.filter(state__in=Task.FINAL).order_by("-pk")
    newest = list(ended.values_list("pk", flat=True)[: archive.LIMIT])
    found = Task.objects.for_account(request.account).filter(pk__in=newest)
    response = StreamingHttpResponse(archive.stream(found, batch.formats), content_type="application/zip")
    disposition = content_disposition_header(as_attachment=True, filename=f"{batch.name}.zip")
    response.headers["Content-Disposition"] = disposition or "attachment"
    return response


@member_required
def export(request: PortalRequest, uid: str) -> HttpResponseBase:
    """CSV file of the selected tasks, or of all that match the filter; times are in UTC."""
    batch, tasks = _chosen(request, uid)
    listed = tasks.annotate(language=F("search_text__language"), speakers=F("search_text__speakers"))
    rows = (_row(task) for task in listed.iterator(chunk_size=500))
    return csv_download(chain([EXPORTED], rows), f"{batch.name}.csv")


def _row(task: Task) -> list[object]:
    return [
        task.uid,
        task.task_order,
        neutral(task.name),
        task.state,
        task.media_duration,
        task.input_size,
        getattr(task, "language", ""),
        getattr(task, "speakers", ""),
        task.whisper_model,
        task.error_code,
        *(moment.isoformat(timespec="seconds") if moment else "" for moment in _moments(task)),
    ]


def _moments(task: Task) -> tuple[datetime | None, ...]:
    return (task.created_at, task.started_at, task.finished_at)


def _chosen(request: PortalRequest, uid: str) -> tuple[Batch, QuerySet[Task]]:
    """The batch, and the tasks that the query string selects; if it names none, all that match its filter."""
    batch = any_batch(request, uid)
    tasks = _selected(batch, request.GET)
    return batch, tasks if request.GET.getlist("task") else TaskFilter.from_query(request.GET).apply(batch)


def _selected(batch: Batch, given: QueryDict) -> QuerySet[Task]:
    tasks = Task.objects.for_account(batch.account).filter(batch=batch)
    return tasks.filter(uid__in=given.getlist("task")[:MOST_SELECTED])


def _ask(
    request: PortalRequest,
    batch: Batch,
    action: str,
    selected: QuerySet[Task],
    matching: QuerySet[Task],
    chosen: TaskFilter,
) -> HttpResponse:
    fitting, fitting_all = (selected_tasks.fitting(action, each).count() for each in (selected, matching))
    context = {
        "batch": batch,
        "action": action,
        "uids": list(selected.values_list("uid", flat=True)),
        "fitting": fitting,
        "fitting_all": fitting_all,
        "filter": chosen,
        "most_repeats": selected_tasks.MOST_REPEATS,
    }
    if action == "recognise-again":
        context["estimate"] = task_services.estimate(account=request.account, files=fitting)
    return render(request, "batches/selected_tasks.html", context)


def _report(request: PortalRequest, action: str, outcome: selected_tasks.Outcome) -> None:
    done = {
        "retry": ngettext(
            "%d task waits for its turn again.", "%d tasks wait for their turn again.", outcome.done
        ),
        "cancel": ngettext("%d task was cancelled.", "%d tasks were cancelled.", outcome.done),
        "recognise-again": ngettext(
            "%d file is recognised again.", "%d files are recognised again.", outcome.done
        ),
        "acknowledge": ngettext(
            "%d failure was acknowledged.", "%d failures were acknowledged.", outcome.done
        ),
    }[action] % outcome.done
    if outcome.done:
        messages.success(request, done)
    if outcome.passed_over:
        text = ngettext(
            "%d task was left as it is: its state does not allow that.",
            "%d tasks were left as they are: their state does not allow that.",
            outcome.passed_over,
        )
        messages.warning(request, text % outcome.passed_over)
    if not outcome.done and not outcome.passed_over:
        messages.warning(request, _("No task was selected."))
