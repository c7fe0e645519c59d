"""Idempotency records in admin, without the stored response, which may contain a new token."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from speechportal.api.models import IdempotencyRecord
from speechportal.support.admin import ReadOnlyAdmin, link_to


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(ReadOnlyAdmin[IdempotencyRecord]):
    find_exact = ("key", "token__uid")
    list_display = ["key", "token", "status", "created_at"]
    list_select_related = ["token"]
    fields = ["key", "status", "created_at"]

    def summary(self, row: IdempotencyRecord) -> list[tuple[Any, Any]]:
        return [(_("API token"), link_to(row.token)), (_("Account"), link_to(row.token.account))]

    def find(self, request: HttpRequest, text: str) -> list[IdempotencyRecord]:
        return []
