"""List layouts saved per user: columns of the task list, filters and order of tasks and transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from batches.services.task_filters import TaskFilter
from batches.transcripts.search_filter import SearchFilter
from speechportal.accounts import list_layouts
from speechportal.accounts.access import signed_in_required
from speechportal.accounts.list_layouts import ListLayout
from speechportal.accounts.models import User
from speechportal.accounts.requests import PortalRequest

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

TASKS, TRANSCRIPTS = "tasks", "transcripts"
FILTERS = {
    TASKS: [field.name for field in fields(TaskFilter)],
    TRANSCRIPTS: [field.name for field in fields(SearchFilter)],
}
POSITIONS = {TASKS: ("before", "after"), TRANSCRIPTS: ("q", "page")}  # parameters that are not saved


@dataclass(frozen=True)
class Column:
    """Column of the task list. ``css`` is the class of its heading, ``key`` also its sort key."""

    key: str
    label: _StrOrPromise
    css: str = ""
    shown: bool = True  # by default


COLUMNS = {
    column.key: column
    for column in (
        Column("order", gettext_lazy("Order"), "number"),
        Column("name", gettext_lazy("Input file name")),
        Column("state", gettext_lazy("State")),
        Column("duration", gettext_lazy("Duration"), "number"),
        Column("size", gettext_lazy("Size"), "number"),
        Column("language", gettext_lazy("Language"), shown=False),
        Column("speakers", gettext_lazy("Speakers"), "number", shown=False),
        Column("flags", gettext_lazy("Remarks"), shown=False),
        Column("model", gettext_lazy("Model"), shown=False),
        Column("found", gettext_lazy("Discovered"), shown=False),
        Column("started", gettext_lazy("Started")),
        Column("finished", gettext_lazy("Finished")),
    )
}


def columns_of(layout: ListLayout) -> list[Column]:
    """The columns of a user's layout, in order; the name is always among them."""
    chosen = [COLUMNS[key] for key in layout.columns if key in COLUMNS]
    return chosen or [column for column in COLUMNS.values() if column.shown]


def all_columns(layout: ListLayout) -> list[tuple[Column, bool]]:
    """Every column and whether it is shown; the shown ones come first, in their order."""
    shown = columns_of(layout)
    rest = [column for column in COLUMNS.values() if column not in shown]
    return [*((column, True) for column in shown), *((column, False) for column in rest)]


def kept_address(request: PortalRequest, name: str) -> HttpResponseRedirect | None:
    """Redirect to the user's saved filters and order, if there are any and the URL has none."""
    query = ListLayout.of(request.user, name).query
    asked = {*FILTERS[name], *POSITIONS[name]} & set(request.GET)
    return None if asked or not query else redirect(f"{request.path}?{query}")


@signed_in_required
@require_POST
def keep(request: HttpRequest, name: str) -> HttpResponse:
    """Save the user's layout of a list.

    ``column``, repeated, names the shown columns and ``place-<key>`` their positions. With ``filters`` the
    filters and order in ``query`` are saved too; without it, saved ones are removed.
    """
    if name not in FILTERS or not isinstance(request.user, User):
        raise Http404
    sent = request.POST
    before = ListLayout.of(request.user, name)
    columns: Iterable[str] = before.columns
    if sent.get("columns"):
        chosen = {*sent.getlist("column"), "name"}
        columns = sorted((key for key in COLUMNS if key in chosen), key=lambda key: _place(sent, key))
    query = _kept(QueryDict(sent.get("query", "")), name) if sent.get("filters") else ""
    list_layouts.keep(request.user, name, list(columns), query)
    messages.success(request, _("The list is kept like this for you."))
    back = sent.get("back", "")
    if not back.startswith("/") or not url_has_allowed_host_and_scheme(back, None):
        back = reverse("home")
    return redirect(f"{back}?{sent['query']}" if sent.get("query") else back)


def _place(sent: Mapping[str, str], key: str) -> tuple[int, int]:
    given = sent.get(f"place-{key}", "")
    own = list(COLUMNS).index(key)
    return (int(given) if given.isascii() and given.isdigit() and len(given) < 4 else own + 1, own)


def _kept(query: QueryDict, name: str) -> str:
    """Filters and order to save: the query without empty parameters and without the position in the list."""
    kept = QueryDict(mutable=True)
    kept.update({key: str(query[key]) for key in FILTERS[name] if query.get(key)})
    return kept.urlencode()
