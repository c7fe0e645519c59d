"""Pages of the dashboard and of the transcript search."""

from __future__ import annotations

from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from batches.billing import usage
from batches.formats.context import default_speaker_name
from batches.models import Task
from batches.operations import dashboard
from batches.transcripts import search
from batches.web.fragments import render_live
from speechportal.accounts.access import member_required
from speechportal.accounts.requests import PortalRequest

PAGE_SIZE = 20
RECENT = 8


@member_required
def home(request: PortalRequest) -> HttpResponse:
    account = request.account
    completed = _completed(request)
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    context = {
        "alerts": dashboard.alerts(account),
        "steps": dashboard.first_steps(account),
        "today": dashboard.numbers(account, today),
        "week": dashboard.numbers(account, today - timedelta(days=6)),
        "recent": completed[:RECENT],
        "budget": usage.budget_state(account),
    }
    return render_live(request, "home/home.html", "home/_home.html", context)


def _completed(request: PortalRequest) -> list[Task]:
    tasks = Task.objects.for_account(request.account).filter(state=Task.State.COMPLETED)
    return list(tasks.select_related("batch").order_by("-finished_at")[:RECENT])


@member_required
def transcripts(request: PortalRequest) -> HttpResponse:
    """Search the account's transcripts; without a query, list the latest ones."""
    query = request.GET.get("q", "").strip()
    context: dict[str, object] = {"query": query}
    if query:
        page = Paginator(search.search(request.account, query), PAGE_SIZE).get_page(request.GET.get("page"))
        found = [search.lines_of(task, query) for task in page.object_list]
        context |= {"page": page, "found": [(each, _spoken(each, query)) for each in found]}
    else:
        context["recent"] = _completed(request)
    return render(request, "home/transcripts.html", context)


def _spoken(found: search.Found, query: str) -> list[dict[str, object]]:
    """Hits of a transcript as the page shows them: speaker, time, and text with the found words marked."""
    return [
        {
            "start": hit.start,
            "speaker": found.speaker_names.get(hit.speaker) or default_speaker_name(hit.speaker)
            if hit.speaker
            else "",
            "parts": search.marked(hit.text, query),
        }
        for hit in found.hits
    ]
