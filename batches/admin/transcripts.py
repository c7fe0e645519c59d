"""Transcripts in admin: text is hidden unless the account allows support access; each access is logged."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from batches.models import Correction, SearchText, StoredTranscript
from speechportal.accounts.audit import trail
from speechportal.support.actions import ReasonForm
from speechportal.support.admin import ReadOnlyAdmin, link_to


@admin.register(StoredTranscript)
class StoredTranscriptAdmin(ReadOnlyAdmin[StoredTranscript]):
    find_exact = ("task__uid",)
    list_display = ["task", "stage", "created_at", "updated_at"]
    list_select_related = ["task"]
    fields = ["stage", "created_at", "updated_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredTranscript]:
        return super().get_queryset(request).defer("document")

    def summary(self, row: StoredTranscript) -> list[tuple[Any, Any]]:
        account = row.task.account
        url = reverse("admin:batches_storedtranscript_read", args=[row.pk])
        allowed = format_html('<a href="{}">{}</a>', url, _("read, with a reason"))
        return [
            (_("Task"), link_to(row.task)),
            (_("Account"), link_to(account)),
            (_("What was said"), allowed if account.support_may_read else _("hidden: an owner can allow it")),
        ]

    def get_urls(self) -> list[URLPattern]:
        read = self.admin_site.admin_view(never_cache(self.read))
        return [path("<int:pk>/read/", read, name="batches_storedtranscript_read"), *super().get_urls()]

    def read(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a transcript's text once a reason was given and recorded in the audit trail."""
        if not request.user.has_perm("batches.view_storedtranscript"):
            raise PermissionDenied
        row = StoredTranscript.unscoped.select_related("task__account").filter(pk=pk).first()
        if row is None:
            raise Http404
        if not row.task.account.support_may_read:
            raise PermissionDenied(_("The account does not allow support staff to read its transcripts."))
        form = ReasonForm(request.POST or None)
        lines: list[str] = []
        if request.method == "POST" and form.is_valid():
            trail.record("task.transcript_read", row.task, reason=form.cleaned_data["reason"])
            lines = [segment.text for segment in row.published().segments]
        context = {
            **self.admin_site.each_context(request),
            "title": _("Read the transcript"),
            "form": form,
            "row": row,
            "lines": lines,
            "opts": self.opts,
        }
        return render(request, "admin/portal/transcript.html", context)

    def find(self, request: HttpRequest, text: str) -> list[StoredTranscript]:
        return []


@admin.register(Correction)
class CorrectionAdmin(ReadOnlyAdmin[Correction]):
    """Corrections: when and by whom; the text is hidden."""

    find_exact = ("task__uid",)
    list_display = ["task", "changed_by", "changed_at", "published_at"]
    list_select_related = ["task", "changed_by"]
    fields = ["changed_by", "changed_at", "published_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Correction]:
        return super().get_queryset(request).defer("lines", "speaker_names", "history")

    def summary(self, row: Correction) -> list[tuple[Any, Any]]:
        return [(_("Task"), link_to(row.task))]

    def find(self, request: HttpRequest, text: str) -> list[Correction]:
        return []


@admin.register(SearchText)
class SearchTextAdmin(ReadOnlyAdmin[SearchText]):
    """Search index rows; their text is hidden."""

    find_exact = ("task__uid",)
    list_display = ["task", "account"]
    list_select_related = ["task", "account"]
    fields = ["account"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[SearchText]:
        return super().get_queryset(request).defer("text", "spoken", "lines")

    def summary(self, row: SearchText) -> list[tuple[Any, Any]]:
        return [(_("Task"), link_to(row.task))]

    def find(self, request: HttpRequest, text: str) -> list[SearchText]:
        return []
