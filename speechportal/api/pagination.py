"""Pages of lists in the API, by keyset (:mod:`speechportal.platform.keyset`)."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import DataError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from speechportal.api.problems import InvalidParameters
from speechportal.platform.keyset import Column, Cursor, Ordering, Page

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200


class CursorPages(CursorPagination):
    """Pages of the form ``{"next": URL or null, "previous": ..., "results": [...]}``.

    A view orders by its ``ordering`` parameter: the name of a field, or of one of its ``order_columns``.
    """

    page_size = PAGE_SIZE
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"
    page: list[Any]
    found: Page

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Read a page. Raises ``InvalidParameters`` for a cursor that is none of this list."""
        self.base_url = request.build_absolute_uri()
        size, ordering = self.get_page_size(request), self._ordering(queryset, view)
        cursor = self._cursor(request)
        try:
            self.found = ordering.page(queryset, cursor, size)
        except (ValueError, TypeError, OverflowError, FieldError, ValidationError, DataError) as error:
            if cursor is None:
                raise
            raise _invalid_cursor() from error
        self.page = self.found.rows
        return self.page

    def _ordering(self, queryset: QuerySet[Any], view: Any) -> Ordering:
        chosen = str(view.parameters.get("ordering") or view.default_ordering)
        name = chosen.removeprefix("-")
        column = view.order_columns.get(name, Column(name))
        return Ordering(queryset.model, column, chosen.startswith("-"), view.order_anchor)

    def _cursor(self, request: Request) -> Cursor | None:
        text = request.query_params.get(self.cursor_query_param)
        if text is None:
            return None
        try:
            return Cursor.decode(text)
        except ValueError as error:
            raise _invalid_cursor() from error

    def get_next_link(self) -> str | None:
        return self._link(self.found.next)

    def get_previous_link(self) -> str | None:
        return self._link(self.found.previous)

    def _link(self, cursor: Cursor | None) -> str | None:
        if cursor is None or self.base_url is None:
            return None
        return str(replace_query_param(self.base_url, self.cursor_query_param, cursor.encode()))

    def get_page_size(self, request: Request) -> int:
        return int(self.request_view_parameters(request).get("page_size") or PAGE_SIZE)

    def request_view_parameters(self, request: Request) -> dict[str, Any]:
        view = (request.parser_context or {}).get("view")
        return getattr(view, "parameters", {})


def _invalid_cursor() -> InvalidParameters:
    return InvalidParameters({"cursor": [_("Invalid cursor")]}, code="invalid_cursor")
