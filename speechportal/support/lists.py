"""Keyset lists: admin pages whose cost does not grow with the table.

Rows are not counted, and pages are found by the last ID seen (newest first) instead of by an offset. Filters
use indexed columns; related rows (an account, a batch) are named by their ID in the URL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

BEFORE, AFTER = "before", "after"
LAST_CHARACTER = "\U0010ffff"
NOTHING = Q(pk__in=[])
FILES_AT_MOST = 500


class KeysetChangeList(ChangeList):
    """Change list by keyset, newest first; ``?before=PK`` and ``?after=PK`` are the adjacent pages."""

    older: str | None = None
    newer: str | None = None

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in {BEFORE, AFTER}}

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        before, after = _mark(request, BEFORE), _mark(request, AFTER)
        if after is not None:
            rows = list(self.queryset.filter(pk__gt=after).order_by("pk")[: size + 1])
            more_newer, more_older = len(rows) > size, True
            rows = rows[:size][::-1]
        else:
            query = self.queryset.filter(pk__lt=before) if before is not None else self.queryset
            rows = list(query.order_by("-pk")[: size + 1])
            more_newer, more_older = before is not None, len(rows) > size
            rows = rows[:size]
        if rows:
            self.older = self.get_query_string({BEFORE: rows[-1].pk}, [AFTER]) if more_older else None
            self.newer = self.get_query_string({AFTER: rows[0].pk}, [BEFORE]) if more_newer else None
        self.paginator = Paginator(rows, size)
        self.result_list = rows
        # Both count this page only; equal numbers keep Django from showing a total, which would be wrong.
        self.result_count = self.full_result_count = len(rows)
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = self.multi_page = False


def _mark(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def having(model: type[Model], lookup: str, value: str) -> Q:
    """Condition ``lookup`` = ``value``, expressed in the table's own columns.

    A related row (``account__uid``) is looked up first: with its key the database can choose the best index
    for the newest rows, while a join would make it scan the whole table for an account with few, old rows.
    """
    relation, _, field = lookup.partition("__")
    if not field:
        return Q(**{lookup: value})
    neighbours = model._meta.get_field(relation).related_model
    assert isinstance(neighbours, type)  # noqa: S101 - a foreign key
    pk = neighbours._base_manager.filter(**{field: value}).values_list("pk", flat=True).first()
    return Q(**{relation: pk}) if pk is not None else NOTHING


def file_at(model: type[Model], key: str) -> Q:
    """Condition for files with this key in any storage, by the index of storage and key."""
    storages = model._meta.get_field("connection").related_model
    assert isinstance(storages, type)  # noqa: S101 - a foreign key
    found = model._base_manager.filter(key=key, connection__in=storages._base_manager.values("pk"))
    return Q(pk__in=list(found.values_list("pk", flat=True)[:FILES_AT_MOST]))


def beginning_with(queryset: QuerySet[Any], field: str, text: str) -> Q:
    """Condition for rows whose ``field`` begins with ``text``, by the field's index.

    PostgreSQL's LIKE can use a pattern index; SQLite's cannot, but SQLite sorts by code points, so that a
    prefix is a range.
    """
    if connections[queryset.db].vendor == "sqlite":
        return Q(**{f"{field}__gte": text, f"{field}__lt": text + LAST_CHARACTER})
    return Q(**{f"{field}__startswith": text})


def neighbour(parameter: str, lookup: str, title: Any) -> type[SimpleListFilter]:
    """Filter by a related row's ID, shown only while it is in use, with a link that removes it."""

    class Neighbour(SimpleListFilter):
        parameter_name = parameter

        def __init__(self, *args: Any) -> None:
            self.title = title
            super().__init__(*args)

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            value = request.GET.get(parameter, "")
            return [(value, value)] if value else []

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            value = self.value()
            return queryset.filter(having(queryset.model, lookup, value)) if value else queryset

    return Neighbour


def choices(
    field: str, title: Any, values: Callable[[], list[tuple[Any, Any]]], common: str = ""
) -> type[SimpleListFilter]:
    """Filter by an indexed column with few values.

    ``common`` is the value that a partial index leaves out; SQLite uses that index only if the query
    excludes the value.
    """

    class Choice(SimpleListFilter):
        parameter_name = field

        def __init__(self, *args: Any) -> None:
            self.title = title
            super().__init__(*args)

        def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[Any, Any]]:
            return values()

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            allowed = {str(value) for value, _label in values()}
            value = self.value()
            if value not in allowed:
                return queryset
            rows = queryset.filter(**{field: value})
            return rows.exclude(**{field: common}) if common and value != common else rows

    return Choice


def bounded_count(queryset: QuerySet[Any], most: int = 100_000) -> tuple[int, bool]:
    """Count rows up to ``most``; returns the count and whether it is exact."""
    found = queryset.order_by()[: most + 1].count()
    return min(found, most), found <= most
