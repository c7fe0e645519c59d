"""Keyset pagination: no row is skipped or repeated when the list changes or when rows have equal values.

A list is ordered by a column, then by primary key in the same direction; rows without a value come last in
both directions. It is read in two parts, the rows with a value and those without: an index of the column and
the primary key serves each of them in both directions, but no index serves them together. So a page costs as
much in the middle of a million rows as at the beginning.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Self

from django.db.models import F, Field, Model, Q, QuerySet, Value
from django.db.models.functions import NullIf

VALUE = "value_in_order"  # annotation with the value that a row is ordered by


@dataclass(frozen=True)
class Column:
    """Column that a list can be ordered by: the path of its field, and whether an empty text is no value.

    ``anchor`` is the path of the field of another table by which the column's index begins, if it is there.
    """

    path: str
    empty_is_none: bool = False
    anchor: str = ""


@dataclass(frozen=True)
class Cursor:
    """Row that a page begins after: its value in the order, ``None`` if it has none, and its primary key.

    With ``backwards`` the page ends before the row.
    """

    value: str | None
    pk: str
    backwards: bool = False

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
class Page:
    """Rows of a page, and the cursors of its neighbours, if there are any."""

    rows: list[Any]
    next: Cursor | None
    previous: Cursor | None


@dataclass(frozen=True)
class Ordering:
    """Order of a list of ``model``, all of whose rows have ``anchor`` in the column's, if there is one."""

    model: type[Model]
    column: Column
    descending: bool
    anchor: int | None = None

    def sort(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """The whole list, in one query; without the speed of its pages."""
        path = self.column.path
        value: F | NullIf = NullIf(F(path), Value("")) if self.column.empty_is_none else F(path)
        by = value.desc(nulls_last=True) if self.descending else value.asc(nulls_last=True)
        return queryset.order_by(by, "-pk" if self.descending else "pk")

    def page(self, queryset: QuerySet[Any], cursor: Cursor | None, size: int) -> Page:
        """Read a page. A cursor of another list may raise ``ValueError``, ``DataError`` and the like."""
        backwards = cursor is not None and cursor.backwards
        found: list[Any] = []
        for with_value in [not backwards, backwards] if self._can_be_empty else [True]:
            if len(found) <= size and self._reaches(cursor, with_value=with_value):
                found += self.part(queryset, cursor, with_value=with_value)[: size + 1 - len(found)]
        more, rows = len(found) > size, found[:size]
        if backwards:
            rows.reverse()
        is_next, is_previous = (True, more) if backwards else (more, cursor is not None)
        return Page(
            rows,
            self._cursor_of(rows[-1], backwards=False) if rows and is_next else None,
            self._cursor_of(rows[0], backwards=True) if rows and is_previous else None,
        )

    def part(self, queryset: QuerySet[Any], cursor: Cursor | None, *, with_value: bool) -> QuerySet[Any]:
        """Rows with a value, or those without, that come after the cursor (or before, read backwards)."""
        backwards = cursor is not None and cursor.backwards
        down = self.descending != backwards
        rows = queryset.annotate(**{VALUE: F(self.column.path)}).filter(self._condition(with_value))
        if cursor is not None and with_value == (cursor.value is not None):
            rows = rows.filter(self._beyond(cursor, "lt" if down else "gt"))
        by = [VALUE, "pk"] if with_value else ["pk"]
        ordered: QuerySet[Any] = rows.order_by(*(f"-{name}" if down else name for name in by))
        return ordered

    def _beyond(self, cursor: Cursor, side: str) -> Q:
        further = Q(**{f"pk__{side}": cursor.pk})
        if cursor.value is None:
            return further
        # The first condition bounds a range of an index; an OR of two ranges would read it from its start.
        value = {f"{VALUE}__{side}e": cursor.value}, {f"{VALUE}__{side}": cursor.value}
        return Q(**value[0]) & (Q(**value[1]) | further)

    @staticmethod
    def _reaches(cursor: Cursor | None, *, with_value: bool) -> bool:
        """Whether rows of a part can come after the cursor: those without a value come last."""
        if cursor is None or with_value == (cursor.value is not None):
            return True
        return with_value == cursor.backwards

    def _condition(self, with_value: bool) -> Q:
        """Condition for the rows with a value, or for those without; one that is a range of an index."""
        path = self.column.path
        if not self._can_be_empty:
            return Q()
        if self.column.empty_is_none:
            empty = Q(**{path: ""}) | Q(**{f"{path}__isnull": True}) if self._can_be_null else Q(**{path: ""})
            return Q(**{f"{path}__gt": ""}) & self._anchored() if with_value else empty
        if with_value:
            return Q(**{f"{path}__isnull": False}) & self._anchored()
        return Q(**{f"{path}__isnull": True})

    def _anchored(self) -> Q:
        with_anchor = self.column.anchor and self.anchor is not None
        return Q(**{self.column.anchor: self.anchor}) if with_anchor else Q()

    @property
    def _can_be_empty(self) -> bool:
        return self.column.empty_is_none or self._can_be_null

    @property
    def _can_be_null(self) -> bool:
        """Whether rows can lack the column: always so for one of another table."""
        if "__" in self.column.path:
            return True
        meta = self.model._meta
        field = meta.pk if self.column.path == "pk" else meta.get_field(self.column.path)
        return not isinstance(field, Field) or field.null

    def _cursor_of(self, row: Any, *, backwards: bool) -> Cursor:
        value = getattr(row, VALUE)
        if value is None or (value == "" and self.column.empty_is_none):
            return Cursor(None, str(row.pk), backwards)
        return Cursor(str(value), str(row.pk), backwards)
