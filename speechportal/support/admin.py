"""Base classes of support staff's admin pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import FieldDoesNotExist, PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit.actor import with_reason
from speechportal.accounts.models import Account
from speechportal.platform.versioned_forms import NAME as VERSION
from speechportal.platform.versioned_forms import VersionedForm
from speechportal.support import date_filter
from speechportal.support.actions import Action, run
from speechportal.support.date_filter import DateFilter
from speechportal.support.lists import NOTHING, KeysetChangeList, beginning_with, having

M = TypeVar("M", bound=models.Model)
MOST_AT_ONCE = 500
FOUND_AT_MOST = 5


class ReasonedForm(VersionedForm, forms.ModelForm[Any]):
    """Form that asks for the reason of a change, and shows a service's refusal at the field it is about.

    It carries the version that it was opened with, so that a concurrent change is not overwritten unseen.
    """

    unversioned = frozenset({"reason"})
    reason = forms.CharField(
        label=_("Reason"),
        max_length=1000,
        required=False,
        help_text=_("Why you change this. Kept in the audit trail; members of the account can read it."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    refused: ClassVar[ValidationError | None] = None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if self.instance.pk and not self.cleaned_data.get("reason", "").strip():
            self.add_error("reason", _("Say why you change this."))
        if self.refused is not None:
            self._show_refusal(self.refused)
        return cleaned

    def _show_refusal(self, refused: ValidationError) -> None:
        if not hasattr(refused, "error_dict"):
            self.add_error(None, refused)
            return
        for field, errors in refused.error_dict.items():
            for error in errors:
                self.add_error(field if field in self.fields else None, error)


class PortalModelAdmin(admin.ModelAdmin[M]):
    """Model admin with keyset lists, search by ID or prefix, related links, and actions with reasons."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    change_list_template = "admin/portal/change_list.html"
    change_form_template = "admin/portal/change_form.html"
    view_on_site = False
    save_as = False
    form = ReasonedForm

    # Columns to search: by exact value, by prefix (both use an index) and, in small tables, by any part.
    find_exact: ClassVar[Sequence[str]] = ("uid",)
    find_beginning: ClassVar[Sequence[str]] = ()
    find_part: ClassVar[Sequence[str]] = ()
    portal_actions: ClassVar[Sequence[type[Action]]] = ()

    # --- Lists ---------------------------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetChangeList]:
        return KeysetChangeList

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.search_fields = [*cls.find_exact, *cls.find_beginning, *cls.find_part]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow only the list's own filters: Django's rule would reveal hidden columns to pattern queries."""
        own = {
            each.parameter_name
            for each in self.list_filter
            if isinstance(each, type) and hasattr(each, "parameter_name")
        }
        named = {each for each in self.list_filter if isinstance(each, str)}
        dates = {date_filter.SINCE, date_filter.UNTIL}
        return lookup in own | dates | {f"{each}__exact" for each in named}

    def get_list_filter(self, request: HttpRequest) -> Any:
        """The list's own filters, and one by date where rows have the time of their creation."""
        is_numbered = isinstance(self.opts.pk, models.AutoField)
        has_date = is_numbered and any(field.name == date_filter.FIELD for field in self.opts.fields)
        return [*super().get_list_filter(request), *([DateFilter] if has_date else [])]

    def get_list_display(self, request: HttpRequest) -> Any:
        """Columns, with related rows as links except in the first column, which links to the row itself."""
        names = list(super().get_list_display(request))
        relations = {field.name for field in self.opts.fields if field.many_to_one or field.one_to_one}
        return [names[0], *(_linked(name, self.opts) if name in relations else name for name in names[1:])]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        text = search_term.strip()
        return (queryset.filter(self.matching(queryset, text)), False) if text else (queryset, False)

    def matching(self, queryset: QuerySet[M], text: str) -> Q:
        """Condition for rows that ``text`` finds; a related row's ID finds its rows."""
        condition = NOTHING
        for field in self.find_exact:
            found = having(self.model, field, text)
            if "__" in field and found != NOTHING:
                return found
            condition |= found
        for field in self.find_beginning:
            condition |= beginning_with(queryset, field, text)
        for field in self.find_part:
            condition |= Q(**{f"{field}__icontains": text})
        return condition

    def find(self, request: HttpRequest, text: str) -> list[M]:
        """Return the newest few rows that match ``text``, for the search over all tables."""
        if not self.has_view_permission(request):
            return []
        queryset = self.get_queryset(request)
        return list(self.get_search_results(request, queryset, text)[0].order_by("-pk")[:FOUND_AT_MOST])

    def found_as(self, row: M) -> list[Any]:
        """Cells of a row in the search over all tables: its ID, its name, and what distinguishes it."""
        return [getattr(row, "uid", ""), str(row), str(getattr(row, "account", None) or "")]

    def url_of(self, row: M) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])

    # --- One row -------------------------------------------------------------------------------------

    def summary(self, row: M) -> list[tuple[Any, Any]]:
        """Summary above the form, as (label, value) pairs: states, counts, links to related rows."""
        return []

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Initial values from the query string, such as ``?account=7``; invalid values are left out."""
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if self._is_value(name, value)}

    def _is_value(self, name: str, value: Any) -> bool:
        try:
            field: Any = self.opts.get_field(name)
        except FieldDoesNotExist:
            return False
        if not isinstance(value, str) or "\0" in value:
            return False
        if field.is_relation:
            if not (value.isascii() and value.isdigit() and len(value) < 19):
                return False
            return bool(field.related_model._base_manager.filter(pk=value).exists())
        try:
            field.clean(value, None)
        except (ValidationError, ValueError, TypeError, OverflowError):
            return False
        return True

    def get_fieldsets(self, request: HttpRequest, obj: M | None = None) -> Any:
        fieldsets = list(super().get_fieldsets(request, obj))
        names = {name for _title, options in fieldsets for name in options["fields"]}
        own = ("reason", VERSION)
        if names & set(own):  # The form finds these errors itself.
            fieldsets = [
                (title, {**options, "fields": [name for name in options["fields"] if name not in own]})
                for title, options in fieldsets
            ]
        if obj is not None and self.has_change_permission(request, obj):
            fieldsets.append((None, {"fields": own}))
        return fieldsets

    def get_form(
        self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        return type(form.__name__, (form,), {"refused": getattr(request, "refused", None)})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> Any:
        context = {**(extra_context or {}), **self._page_context(request, object_id)}
        with with_reason(request.POST.get("reason", "")):
            try:
                with self._locked(request, object_id):
                    return super().changeform_view(request, object_id, form_url, context)
            except ValidationError as error:
                # The service refused and the transaction was rolled back: show the form with its error.
                request.refused = error  # type: ignore[attr-defined] # read in get_form
                return super().changeform_view(request, object_id, form_url, context)

    @contextmanager
    def _locked(self, request: HttpRequest, object_id: str | None) -> Iterator[None]:
        """Transaction with a lock on the row, or on its account, as services do."""
        row = self.get_object(request, object_id) if object_id and request.method == "POST" else None
        if row is None:
            yield
            return
        account = row if isinstance(row, Account) else getattr(row, "account", None)
        locked: models.Model = account or row
        with transaction.atomic():
            type(locked)._base_manager.select_for_update(no_key=True).filter(pk=locked.pk).first()
            yield

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        """Save only the changed columns, so that a concurrent change of others is kept."""
        if not change:
            obj.save()
            return
        writable = {field.name for field in self.opts.concrete_fields} & set(form.cleaned_data)
        obj.save(update_fields=[name for name in form.changed_data if name in writable])

    def _page_context(self, request: HttpRequest, object_id: str | None) -> dict[str, Any]:
        row = self.get_object(request, object_id) if object_id else None
        if row is None or not self.has_view_permission(request, row):
            return {}
        base = self._action_url("")
        buttons = [
            {"label": each.label, "url": f"{base}{each.name}/?ids={row.pk}", "dangerous": each.dangerous}
            for each in self._portal_actions(request)
            if each.applies_to(row)
        ]
        return {"summary": self.summary(row), "portal_actions": buttons, "trail": self._trail(request, row)}

    def _trail(self, request: HttpRequest, row: M) -> str:
        uid = getattr(row, "uid", "")
        allowed = request.user.has_perm("accounts.view_auditentry")
        return f"{reverse('admin:accounts_auditentry_changelist')}?target={uid}" if uid and allowed else ""

    # --- Actions with reasons ------------------------------------------------------------------------

    def _portal_actions(self, request: HttpRequest) -> list[Action]:
        return [action for each in self.portal_actions if (action := each()).allowed_for(request)]

    def get_actions(self, request: HttpRequest) -> Any:
        """Actions of the list, each of which opens the action's page. Rows cannot be deleted from a list."""
        found: dict[str, Any] = {}
        for action in self._portal_actions(request):
            if action.for_many:
                found[action.name] = (self._chooser(action), action.name, action.label)
        return found

    def _chooser(self, action: Action) -> Any:
        def choose(_admin: Any, _request: HttpRequest, queryset: QuerySet[M]) -> HttpResponse:
            ids = ",".join(str(pk) for pk in queryset.values_list("pk", flat=True)[:MOST_AT_ONCE])
            return HttpResponseRedirect(f"{self._action_url(action.name)}?ids={ids}")

        return choose

    def _action_url(self, name: str) -> str:
        base = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return f"{base}do/{name}/" if name else f"{base}do/"

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_do"
        return [
            path("do/<slug:action>/", self.admin_site.admin_view(self.action_view), name=name),
            *super().get_urls(),
        ]

    def action_view(self, request: HttpRequest, action: str) -> HttpResponseBase:
        chosen = next((each() for each in self.portal_actions if each.name == action), None)
        if chosen is None:
            raise Http404
        if not chosen.allowed_for(request):
            raise PermissionDenied
        rows = self._rows(request)
        form = chosen.form(rows, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            with with_reason(str(form.cleaned_data["reason"])):
                answer = chosen.respond(rows[0], form.cleaned_data) if len(rows) == 1 else None
            if answer is not None:
                return answer
            run(chosen, request, rows, form.cleaned_data)
            return HttpResponseRedirect(self._after(rows))
        context = {
            **self.admin_site.each_context(request),
            "title": chosen.label,
            "action": chosen,
            "form": form,
            "rows": rows,
            "opts": self.opts,
            "back": self._after(rows),
        }
        return render(request, "admin/portal/action.html", context)

    def _rows(self, request: HttpRequest) -> list[M]:
        ids = [int(each) for each in request.GET.get("ids", "").split(",") if each.isdecimal()]
        rows = list(self.get_queryset(request).filter(pk__in=ids[:MOST_AT_ONCE]).order_by("pk"))
        if not rows:
            raise Http404
        return rows

    def _after(self, rows: Sequence[M]) -> str:
        kind = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        return (
            reverse(f"{kind}_change", args=[rows[0].pk]) if len(rows) == 1 else reverse(f"{kind}_changelist")
        )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Always ``False``: rows are deleted by actions with a reason, if at all."""
        return False


class ReadOnlyAdmin(PortalModelAdmin[M]):
    """Model admin of rows that the portal writes itself: read-only."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _linked(name: str, opts: Any) -> Any:
    """Column of links to the rows of a foreign key, headed by its name or else by the related table's."""
    field = opts.get_field(name)
    is_named = field.verbose_name != name.replace("_", " ")

    @admin.display(description=field.verbose_name if is_named else field.related_model._meta.verbose_name)
    def linked(row: models.Model) -> str:
        return link_to(getattr(row, name))

    return linked


def link_to(row: models.Model | None, text: str = "") -> str:
    """Link to a row's page, or a dash."""
    if row is None:
        return "–"
    if not admin.site.is_registered(type(row)):
        return str(row)
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, text or str(row) or str(row.pk))


def link_to_list(model: type[models.Model], text: Any, **conditions: Any) -> str:
    """Link to the list of a table's rows under conditions."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode(conditions), text)
