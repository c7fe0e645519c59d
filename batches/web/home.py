"""Pages of the dashboard and of the transcript search."""

from __future__ import annotations

from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from batches.billing import usage
from batches.formats.context import default_speaker_name
from batches.models import Batch, Charge, Task
from batches.operations import dashboard, first_steps
from batches.services import selectors
from batches.transcripts import search
from batches.transcripts.search_filter import SearchFilter
from batches.transcripts.search_query import marked
from batches.transcripts.transcript_page import LANGUAGES
from batches.web import lists
from batches.web.fragments import render_live
from domains.models import Domain
from speechportal.accounts.access import member_required
from speechportal.accounts.list_layouts import ListLayout
from speechportal.accounts.requests import PortalRequest

PAGE_SIZE = 20
RECENT = 8
CANDIDATES = 200  # newest tasks among which the last completed ones are searched
MOST_DELETED = 100  # deleted batches that the search offers as filters


@member_required
def home(request: PortalRequest) -> HttpResponse:
    account = request.account
    completed = _completed(request)
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    context = {
        "alerts": dashboard.alerts(account),
        "steps": first_steps.steps(account),
        "sample": first_steps.sample_recording(account) is not None,
        "today": dashboard.numbers(account, today),
        "week": dashboard.numbers(account, today - timedelta(days=6)),
        "recent": completed[:RECENT],
        "budget": usage.budget_state(account),
    }
    return render_live(request, "home/home.html", "home/_home.html", context)


def _completed(request: PortalRequest) -> list[Task]:
    """The tasks that were completed last, found by two other indexes since the end time has none.

    Such a task is either among the newest tasks, or an older, retried one with a recent charge.
    """
    tasks = Task.objects.for_account(request.account).filter(state=Task.State.COMPLETED)
    charges = Charge.objects.for_account(request.account).order_by("-created_at")
    found = {
        *tasks.order_by("-pk").values_list("pk", flat=True)[:CANDIDATES],
        *charges.values_list("task", flat=True)[:RECENT],
    }
    return list(tasks.filter(pk__in=found).select_related("batch").order_by("-finished_at")[:RECENT])


@member_required
def transcripts(request: PortalRequest) -> HttpResponse:
    """Search the account's transcripts; with neither a query nor a filter, list the latest ones."""
    account = request.account
    if (kept := lists.kept_address(request, lists.TRANSCRIPTS)) is not None:
        return kept
    query, chosen = request.GET.get("q", "").strip(), SearchFilter.from_query(request.GET)
    context: dict[str, object] = {
        "query": query,
        "filter": chosen,
        "is_kept": bool(ListLayout.of(request.user, lists.TRANSCRIPTS).query),
        "batches": list(Batch.objects.for_account(account).live().order_by("name")),
        "deleted_batches": list(selectors.list_deleted_batches(account)[:MOST_DELETED]),
        "domains": list(Domain.objects.for_account(account).order_by("name")),
        "languages": [(code, LANGUAGES.get(code, code)) for code in search.languages_of(account)],
    }
    if query or not chosen.is_empty:
        tasks = search.search(account, query, chosen)
        page = Paginator(tasks, PAGE_SIZE).get_page(request.GET.get("page"))
        found = [search.lines_of(task, query, chosen) for task in page.object_list]
        context["most_found"] = (
            search.MOST_FOUND if query and page.paginator.count >= search.MOST_FOUND else 0
        )
        context |= {"page": page, "found": [_shown(each, query) for each in found], "searched": True}
    else:
        context["recent"] = _completed(request)
    return render(request, "home/transcripts.html", context)


def _shown(found: search.Found, query: str) -> dict[str, object]:
    """Search hit for the template: the file's name and lines, with the matching words marked."""
    names = found.speaker_names
    lines = [
        {
            "start": hit.start,
            "speaker": (names.get(hit.speaker) or default_speaker_name(hit.speaker)) if hit.speaker else "",
            "parts": marked(hit.text, query),
            "find": hit.find,
        }
        for hit in found.hits
    ]
    name = {"parts": marked(found.task.name, query)}
    return {"task": found.task, "count": found.count, "more": found.more, "name": name, "lines": lines}
