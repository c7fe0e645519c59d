"""Cursor pagination: no row is skipped or repeated when the list changes."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from speechportal.api.problems import InvalidParameters

PAGE_SIZE, MAX_PAGE_SIZE = 50, 200


class CursorPages(CursorPagination):
    """Pages of the form ``{"next": URL or null, "previous": ..., "results": [...]}``."""

    page_size = PAGE_SIZE
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"
    ordering = "-pk"

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> tuple[str, ...]:
        chosen = view.parameters.get("ordering") or view.default_ordering
        # The key last: equal names, or files found in one second, still have one order.
        return (chosen, "-pk" if chosen.startswith("-") else "pk")

    def decode_cursor(self, request: Request) -> Any:
        try:
            return super().decode_cursor(request)
        except exceptions.NotFound as error:
            raise InvalidParameters({"cursor": [str(error.detail)]}, code="invalid_cursor") from error

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        """A cursor that was made up may hold anything: what cannot be compared is no cursor."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, TypeError, OverflowError, ValidationError, DataError) as error:
            if not request.query_params.get(self.cursor_query_param):
                raise
            raise InvalidParameters({"cursor": [_("Invalid cursor")]}, code="invalid_cursor") from error

    def get_page_size(self, request: Request) -> int:
        return int(self.request_view_parameters(request).get("page_size") or PAGE_SIZE)

    def request_view_parameters(self, request: Request) -> dict[str, Any]:
        view = (request.parser_context or {}).get("view")
        return getattr(view, "parameters", {})
