"""Pages of batches: the list, one batch, its form, its execution results and its activity."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DataError, transaction
from django.db.models import F, Q, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _

from batches.intake import left_alone
from batches.models import Batch, Task
from batches.operations import progress_forecast
from batches.reports import execution_results
from batches.services import acknowledgements, selectors
from batches.services import batches as batch_services
from batches.services.task_filters import FLAGS, TaskFilter
from batches.status.failures import failure_of_batch, failure_of_task
from batches.transcripts import archive, search
from batches.web import lists, result_table, uploads
from batches.web.forms import COPIED, BatchForm
from batches.web.fragments import HEADER, render_live
from domains.models import Domain
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.list_layouts import ListLayout
from speechportal.accounts.models import AuditEntry
from speechportal.accounts.privacy.views import activity_page
from speechportal.accounts.requests import PortalRequest
from speechportal.platform import keyset
from speechportal.platform.forms import submit
from speechportal.platform.http import download
from speechportal.platform.keyset import Cursor, Ordering
from speechportal.storage.errors import StorageError

PAGE_SIZE = 50


def any_batch(request: PortalRequest, uid: str) -> Batch:
    """One of the account's batches, which may be deleted: its results and charges still exist."""
    batches = Batch.objects.for_account(request.account).select_related("account", "domain", "connection")
    return get_object_or_404(batches, uid=uid)


@member_required
def batch_list(request: PortalRequest) -> HttpResponse:
    query, sort = request.GET.get("q", "").strip(), request.GET.get("sort", "")
    batches = selectors.sort_batches(selectors.list_batches(request.account, query), sort)
    page = Paginator(batches, PAGE_SIZE).get_page(request.GET.get("page"))
    progress = selectors.progress_of(request.account, page.object_list)
    forecasts = progress_forecast.forecasts_for(request.account, page.object_list)
    rows = [
        (batch, progress[batch.pk], forecasts.get(batch.pk), failure_of_batch(batch))
        for batch in page.object_list
    ]
    used = selectors.count_batches(request.account)
    context = {
        "page": page,
        "rows": rows,
        "query": query,
        "sort": sort,
        "keep": {"sort": sort} if sort else {},
        "used": used,
        "deleted": selectors.list_deleted_batches(request.account),
    }
    return render_live(request, "batches/list.html", "batches/_list.html", context)


@member_required
def deleted_list(request: PortalRequest) -> HttpResponse:
    """Deleted batches whose transcripts can still be read."""
    query = request.GET.get("q", "").strip()
    batches = selectors.list_deleted_batches(request.account, query)
    page = Paginator(batches, PAGE_SIZE).get_page(request.GET.get("page"))
    progress = selectors.progress_of(request.account, page.object_list)
    rows = [(batch, progress[batch.pk]) for batch in page.object_list]
    return render(request, "batches/deleted.html", {"page": page, "rows": rows, "query": query})


@member_required
def service_details(request: PortalRequest) -> HttpResponse:
    return render(request, "batches/service.html", {"used": selectors.count_batches(request.account)})


@manager_required
def batch_create(request: PortalRequest) -> HttpResponse:
    form = BatchForm(request.POST or None, account=request.account, initial=_copied(request))
    batch = submit(form, lambda: batch_services.create_batch(account=request.account, **form.cleaned_data))
    if batch is not None:
        messages.success(
            request, _("The batch “%s” was created. It starts by itself within a minute.") % batch.name
        )
        return redirect("batches:detail", batch.uid)
    full = selectors.count_batches(request.account) >= request.account.batch_limit
    context = {"form": form, "full": full, **_missing(request, form)}
    return render(request, "batches/form.html", context)


def _copied(request: PortalRequest) -> dict[str, Any]:
    """Initial values copied from the batch ``?from=<ID>``, without its name and domain."""
    source = Batch.objects.for_account(request.account).filter(uid=request.GET.get("from", "")).first()
    if source is None:
        return {}
    return {**{name: getattr(source, name) for name in COPIED}, **source.recognition.to_json()}


@manager_required
def batch_edit(request: PortalRequest, uid: str) -> HttpResponse:
    live = Batch.objects.for_account(request.account).live().select_related("domain", "connection")
    batch = get_object_or_404(live, uid=uid)
    name = batch.name
    form = BatchForm(request.POST or None, account=request.account, instance=batch)

    def unchanged(locked: Batch) -> None:
        form.unchanged_since(BatchForm(account=request.account, instance=locked))

    saved = submit(
        form, lambda: batch_services.update_batch(batch=batch, confirm=unchanged, **form.cleaned_data)
    )
    if saved is not None:
        messages.success(request, _("The settings of “%s” were saved.") % saved.name)
        return redirect("batches:detail", saved.uid)
    context = {"form": form, "batch": batch, "batch_name": name, **_missing(request, form)}
    return render(request, "batches/form.html", context)


def _missing(request: PortalRequest, form: BatchForm) -> dict[str, Any]:
    """Template context with what the account lacks to create a batch: a free domain, or a connection."""
    no_domain = ""
    domains = form.fields["domain"].queryset  # type: ignore[attr-defined] # a ModelChoiceField
    if not domains.exists():
        own = Domain.objects.for_account(request.account)
        if not own.exists():
            no_domain = _("A batch needs a domain, and there is none yet.")
        elif own.filter(plan=Domain.Plan.BASIC).exists():
            no_domain = _("Every Basic domain has a batch already, and each domain can have only one.")
        else:
            no_domain = _("All domains are Free, and only a Basic domain can have a batch.")
    connections = form.fields["connection"].queryset  # type: ignore[attr-defined] # likewise
    return {"no_domain": no_domain, "no_connection": not connections.exists()}


@member_required
def batch_detail(request: PortalRequest, uid: str) -> HttpResponse:
    batch = any_batch(request, uid)
    if (kept := lists.kept_address(request, lists.TASKS)) is not None:
        return kept
    chosen, layout = TaskFilter.from_query(request.GET), ListLayout.of(request.user, lists.TASKS)
    context = {
        **_overview(request, batch),
        **_task_rows(request, chosen, batch),
        "sort": chosen.sort,
        "filter": chosen,
        "states": Task.State.choices,
        "flags": FLAGS.items(),
        "languages": search.languages_of(request.account),
        "columns": lists.columns_of(layout),
        "all_columns": lists.all_columns(layout),
        "is_kept": bool(layout.query),
        "selectable": request.membership.can_change and not batch.is_deleted,
        "tab": "tasks",
    }
    may_upload = request.membership.can_change and not batch.is_deleted and batch.connection is not None
    if may_upload and not request.headers.get(HEADER):
        with suppress(StorageError):  # The page already shows the storage's error.
            context["upload"] = uploads.page_context(batch)
    response = render_live(request, "batches/detail.html", "batches/_detail.html", context)
    if "upload" in context:
        uploads.allow_uploads(response, batch)
    return response


@member_required
def batch_results(request: PortalRequest, uid: str) -> HttpResponse:
    batch = any_batch(request, uid)
    results = Paginator(selectors.list_execution_results(batch), PAGE_SIZE)
    context = {
        **_overview(request, batch),
        "page": results.get_page(request.GET.get("page")),
        "tab": "results",
    }
    return render_live(request, "batches/results.html", "batches/_results.html", context)


@member_required
def result_detail(request: PortalRequest, uid: str, result_uid: str) -> HttpResponse:
    """Execution result as a table, with the content of its CSV file."""
    batch = any_batch(request, uid)
    result = get_object_or_404(selectors.list_execution_results(batch), uid=result_uid)
    header, rows = result_table.table(result)
    context = {"batch": batch, "result": result, "header": header, "rows": rows}
    return render(request, "batches/result.html", context)


@member_required
def result_download(request: PortalRequest, uid: str, result_uid: str) -> HttpResponse:
    results = selectors.list_execution_results(any_batch(request, uid))
    result = get_object_or_404(results, uid=result_uid)
    name = result.key.rpartition("/")[2] or f"{result.uid}.csv"
    return download(execution_results.render(result), name, "text/csv; charset=utf-8")


@member_required
def batch_archive(request: PortalRequest, uid: str) -> HttpResponseBase:
    """The newest results in the batch's formats, as a ZIP file."""
    batch = any_batch(request, uid)
    ended = Task.objects.for_account(request.account).filter(batch=batch, state__in=Task.FINAL)
    newest = list(ended.order_by("-pk").values_list("pk", flat=True)[: archive.LIMIT])
    tasks = Task.objects.for_account(request.account).filter(pk__in=newest)
    response = StreamingHttpResponse(archive.stream(tasks, batch.formats), content_type="application/zip")
    disposition = content_disposition_header(as_attachment=True, filename=f"{batch.name}.zip")
    response.headers["Content-Disposition"] = disposition or "attachment"
    return response


@member_required
def batch_activity(request: PortalRequest, uid: str) -> HttpResponse:
    """Audit trail of the batch, its tasks and its webhook."""
    batch = any_batch(request, uid)
    about = Q(target_uid=batch.uid) | Q(part_of=batch.uid)
    entries = AuditEntry.objects.for_account(request.account).filter(about)
    context = {
        "batch": batch,
        "result_count": batch.last_execution_result,
        "tab": "activity",
        **activity_page(request, entries),
    }
    return render(request, "batches/activity.html", context)


def _overview(request: PortalRequest, batch: Batch) -> dict[str, Any]:
    return {
        "batch": batch,
        "cause": failure_of_batch(batch),
        "acknowledged_by": acknowledgements.entry_of(batch),
        "progress": selectors.progress_of(request.account, [batch])[batch.pk],
        "forecast": progress_forecast.forecasts_for(request.account, [batch]).get(batch.pk),
        "result_count": batch.last_execution_result,
        "left_alone": left_alone.groups(batch),
    }


def _task_rows(request: PortalRequest, chosen: TaskFilter, batch: Batch) -> dict[str, Any]:
    """One page of tasks, by keyset: the cost does not grow with the number of tasks or of the page."""
    heard = {name: F(f"search_text__{name}") for name in ("language", "speakers", "flags")}
    tasks = chosen.matching(batch).annotate(**heard)
    if chosen.sort in ("", "order", "-order"):
        if chosen.sort == "order":
            tasks = tasks.reverse()
        return _window(tasks, request.GET.get("before", ""), oldest_first=chosen.sort == "order")
    page = _page_at(chosen.ordering(batch), tasks, request.GET.get("after", ""))
    return {
        "rows": [(task, failure_of_task(task)) for task in page.rows],
        "after": request.GET.get("after", ""),
        "next": page.next and page.next.encode(),
        "previous": page.previous and page.previous.encode(),
    }


def _page_at(ordering: Ordering, tasks: QuerySet[Task], text: str) -> keyset.Page:
    """The page after a cursor; the first one if the cursor is none of this list."""
    with suppress(ValueError, TypeError, OverflowError, ValidationError, DataError):
        if text:
            with transaction.atomic():
                return ordering.page(tasks, Cursor.decode(text), PAGE_SIZE)
    return ordering.page(tasks, None, PAGE_SIZE)


def _window(tasks: QuerySet[Task], edge: str, *, oldest_first: bool) -> dict[str, Any]:
    """Page of tasks by task order, below or above a given one."""
    if edge.isascii() and edge.isdigit() and len(edge) < 10:
        tasks = tasks.filter(**{"task_order__gt" if oldest_first else "task_order__lt": int(edge)})
    else:
        edge = ""
    found = list(tasks[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    older = shown[-1].task_order if len(found) > PAGE_SIZE else None
    return {"rows": [(task, failure_of_task(task)) for task in shown], "before": edge, "older": older}
