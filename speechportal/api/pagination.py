"""Keyset pagination: no row is skipped or repeated when the list changes or when rows have equal values."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Self

from django.core.exceptions import FieldError, ValidationError
from django.db import DataError
from django.db.models import F, Field, Func, Model, Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from speechportal.api.problems import InvalidParameters

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200
VALUE = "value_in_order"  # annotation with the value that a row is ordered by


@dataclass(frozen=True)
class Cursor:
    """Row that a page begins after: its value in the order, ``None`` if it has none, and its primary key.

    With ``backwards`` the page ends before the row.
    """

    value: str | None
    pk: str
    backwards: bool = False

    @classmethod
    def of(cls, row: Any, *, backwards: bool) -> Self:
        value = getattr(row, VALUE)
        return cls(None if value is None else str(value), str(row.pk), backwards)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Decode a cursor of a URL. Raises ``ValueError``."""
        content = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True).decode()
        direction, rest = content[:1], content[1:]
        pk, has_value, value = rest.partition(":")
        if direction not in {"<", ">"} or not pk:
            raise ValueError(text)
        return cls(value if has_value else None, pk, direction == "<")

    def encode(self) -> str:
        value = "" if self.value is None else f":{self.value}"
        content = f"{'<' if self.backwards else '>'}{self.pk}{value}"
        return base64.urlsafe_b64encode(content.encode()).decode("ascii")


@dataclass(frozen=True)
class Ordering:
    """Order of a list, by an expression and then by the primary key in the same direction.

    Rows without a value come last in both directions.
    """

    expression: F | Func
    descending: bool
    nullable: bool

    def sort(self, queryset: QuerySet[Any], *, backwards: bool) -> QuerySet[Any]:
        falling = self.descending != backwards
        by: F | Func = self.expression
        if self.nullable:
            # Nulls are last forwards, thus first backwards. Named only where there can be some: databases
            # use an index of a column for its own order alone.
            first, last = backwards or None, not backwards or None
            nulls: dict[str, bool | None] = {"nulls_first": first, "nulls_last": last}
            value = by.desc(**nulls) if falling else by.asc(**nulls)
        else:
            value = by.desc() if falling else by.asc()
        rows: QuerySet[Any] = queryset.annotate(**{VALUE: self.expression})
        return rows.order_by(value, "-pk" if falling else "pk")

    def beyond(self, cursor: Cursor) -> Q:
        """Condition for rows after the cursor's, or before it if the cursor is for the page before."""
        side = "lt" if self.descending != cursor.backwards else "gt"
        further = Q(**{f"pk__{side}": cursor.pk})
        if cursor.value is None:
            same = Q(**{f"{VALUE}__isnull": True}) & further
            return same | Q(**{f"{VALUE}__isnull": False}) if cursor.backwards else same
        # The first condition bounds a range of an index; an OR of two ranges would read it from its start.
        found = Q(**{f"{VALUE}__{side}e": cursor.value}) & (Q(**{f"{VALUE}__{side}": cursor.value}) | further)
        return found | Q(**{f"{VALUE}__isnull": True}) if self.nullable and not cursor.backwards else found


class CursorPages(CursorPagination):
    """Pages of the form ``{"next": URL or null, "previous": ..., "results": [...]}``.

    A view orders by its ``ordering`` parameter: the name of a field, or of one of its ``order_expressions``.
    """

    page_size = PAGE_SIZE
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"
    page: list[Any]
    next: Cursor | None
    previous: Cursor | None

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Read a page. Raises ``InvalidParameters`` for a cursor that is none of this list."""
        self.base_url = request.build_absolute_uri()
        size, ordering = self.get_page_size(request), self._ordering(queryset, view)
        cursor = self._cursor(request)
        try:
            return self._read(queryset, ordering, cursor, size)
        except (ValueError, TypeError, OverflowError, FieldError, ValidationError, DataError) as error:
            if cursor is None:
                raise
            raise _invalid_cursor() from error

    def _ordering(self, queryset: QuerySet[Any], view: Any) -> Ordering:
        chosen = str(view.parameters.get("ordering") or view.default_ordering)
        name = chosen.removeprefix("-")
        expression = view.order_expressions.get(name, F(name))
        return Ordering(expression, chosen.startswith("-"), _can_be_null(queryset.model, expression))

    def _cursor(self, request: Request) -> Cursor | None:
        text = request.query_params.get(self.cursor_query_param)
        if text is None:
            return None
        try:
            return Cursor.decode(text)
        except ValueError as error:
            raise _invalid_cursor() from error

    def _read(self, queryset: Any, ordering: Ordering, cursor: Cursor | None, size: int) -> list[Any]:
        backwards = cursor is not None and cursor.backwards
        rows = ordering.sort(queryset, backwards=backwards)
        if cursor is not None:
            rows = rows.filter(ordering.beyond(cursor))
        found = list(rows[: size + 1])
        more, self.page = len(found) > size, found[:size]
        if backwards:
            self.page.reverse()
        is_next, is_previous = (True, more) if backwards else (more, cursor is not None)
        first, last = (self.page[0], self.page[-1]) if self.page else (None, None)
        self.next = Cursor.of(last, backwards=False) if is_next and last else None
        self.previous = Cursor.of(first, backwards=True) if is_previous and first else None
        return self.page

    def get_next_link(self) -> str | None:
        return self._link(self.next)

    def get_previous_link(self) -> str | None:
        return self._link(self.previous)

    def _link(self, cursor: Cursor | None) -> str | None:
        if cursor is None or self.base_url is None:
            return None
        return str(replace_query_param(self.base_url, self.cursor_query_param, cursor.encode()))

    def get_page_size(self, request: Request) -> int:
        return int(self.request_view_parameters(request).get("page_size") or PAGE_SIZE)

    def request_view_parameters(self, request: Request) -> dict[str, Any]:
        view = (request.parser_context or {}).get("view")
        return getattr(view, "parameters", {})


def _can_be_null(model: type[Model], expression: F | Func) -> bool:
    """Whether rows can lack the value: always said of anything but a column of the table itself."""
    name = str(getattr(expression, "name", "")) if isinstance(expression, F) else ""
    if not name or "__" in name:
        return True
    field = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return not isinstance(field, Field) or field.null


def _invalid_cursor() -> InvalidParameters:
    return InvalidParameters({"cursor": [_("Invalid cursor")]}, code="invalid_cursor")
