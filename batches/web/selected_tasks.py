"""Actions on many tasks of a batch's page: asks first, then does it to those that were chosen."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from batches.models import Batch, Task
from batches.services import selected_tasks
from batches.services import tasks as task_services
from batches.services.task_filters import TaskFilter
from speechportal.accounts.access import manager_required
from speechportal.accounts.requests import PortalRequest

MOST_SELECTED = 200  # More than a page has.


@manager_required
def act(request: PortalRequest, uid: str, action: str) -> HttpResponse:
    """``task=<ID>``, several times, selects tasks; ``all=1`` means all that match the filter instead."""
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
