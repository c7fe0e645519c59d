"""Named leases in admin: work of one process at a time, its holder, and when it last ran."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from speechportal.platform.models import NamedLease
from speechportal.support.admin import ReadOnlyAdmin


@admin.register(NamedLease)
class NamedLeaseAdmin(ReadOnlyAdmin[NamedLease]):
    find_exact: ClassVar[list[str]] = ["name"]
    list_display = ["name", "last_run_at", "held_until"]
    fields = ["name", "last_run_at", "held_until"]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return ChangeList  # A handful of rows, found by name.

    def find(self, request: HttpRequest, text: str) -> list[NamedLease]:
        return []
