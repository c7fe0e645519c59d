"""Domains in admin. Changes go through the services that members use."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from domains import keyword_use, offered_models, services
from domains.forms import OfferedModelField
from domains.keywords import parse_keywords
from domains.models import Domain, Keyword
from domains.redaction import KINDS
from domains.services import DomainFields
from domains.text_forms import TextRulesFields
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, ReadOnlyAdmin, ReasonedForm, link_to
from speechportal.support.lists import neighbour


class DomainAdminForm(TextRulesFields, ReasonedForm):
    keywords = forms.CharField(
        label=_("Keywords to boost"),
        required=False,
        help_text=_("One a line, or separated by commas."),
        widget=forms.Textarea(attrs={"rows": 8, "cols": 60, "spellcheck": "false"}),
    )

    whisper_model = OfferedModelField(label=_("Whisper model"), choices=offered_models.domain_whisper_choices)
    speaker_model = OfferedModelField(label=_("Speaker model"), choices=offered_models.domain_speaker_choices)

    class Meta:
        model = Domain
        fields = ["account", "name", "code", "plan", "whisper_model", "speaker_model", "clova_result"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "keywords" in self.fields:
            texts = Keyword.unscoped.filter(domain=self.instance).values_list("text", flat=True)
            self.initial["keywords"] = "\n".join(texts)

    def clean_keywords(self) -> list[str]:
        return parse_keywords(self.cleaned_data["keywords"])


class DeleteDomain(Action):
    name, label = "delete", _("Delete")
    description = _("With its keywords. A domain that a batch uses stays.")
    permission = "domains.delete_domain"
    dangerous = True

    def perform(self, row: Domain, answers: dict[str, Any]) -> str:
        services.delete_domain(domain=row)
        return gettext("The domain was deleted.")


@admin.register(Domain)
class DomainAdmin(PortalModelAdmin[Domain]):
    form = DomainAdminForm
    find_exact = ("uid", "account__uid")
    find_part = ("name", "code")
    list_display = ["name", "code", "uid", "plan", "account", "batch_link", "keyword_count", "created_at"]
    list_select_related = ["account", "batch"]
    list_filter = [neighbour("account", "account__uid", _("account")), "plan"]
    fields = [
        *("account", "name", "code", "plan", "whisper_model", "speaker_model", "forbidden_words"),
        *("forbidden_action", *(f"redact_{kind}" for kind in KINDS), "keep_original", "muted_copy"),
        "redact_userdata",
        *("clova_result", "replacements", "keywords"),
    ]
    autocomplete_fields = ["account"]
    portal_actions = [DeleteDomain]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Domain]:
        return super().get_queryset(request).annotate(found_keywords=Count("keywords"))

    def get_readonly_fields(self, request: HttpRequest, obj: Domain | None = None) -> list[str]:
        return ["account"] if obj is not None else []

    def get_fields(self, request: HttpRequest, obj: Domain | None = None) -> Any:
        fields = [*self.fields]
        if obj is None or self.has_change_permission(request, obj):
            return fields
        # A read-only page can show columns only; its summary has the rest.
        columns = {field.name for field in Domain._meta.concrete_fields}
        return [name for name in fields if name in columns]

    @admin.display(description=_("batch"))
    def batch_link(self, domain: Domain) -> str:
        return link_to(getattr(domain, "batch", None))

    @admin.display(description=_("keywords"))
    def keyword_count(self, domain: Domain) -> int:
        return int(domain.found_keywords)  # type: ignore[attr-defined] # annotated

    def summary(self, row: Domain) -> list[tuple[Any, Any]]:
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Batch"), link_to(getattr(row, "batch", None))),
            (_("Keywords"), row.keywords.count()),
            (_("Replacements"), len(row.replacement_rows)),
            (_("Redaction"), row.redaction.summary),
        ]

    def save_model(self, request: HttpRequest, obj: Domain, form: Any, change: bool) -> None:
        data = form.cleaned_data
        given = {name: data[name] for name in DomainFields.__annotations__ if name in data}
        if change:
            services.update_domain(
                domain=obj, keywords=data.get("keywords"), replacements=data.get("replacements"), **given
            )
        else:
            made = services.create_domain(
                account=obj.account,
                keywords=data.get("keywords"),
                replacements=data.get("replacements"),
                **given,
            )
            obj.__dict__.update(made.__dict__)


@admin.register(Keyword)
class KeywordAdmin(ReadOnlyAdmin[Keyword]):
    """Keywords, read-only; they are edited on the page of their domain."""

    find_exact = ("domain__uid",)
    list_display = ["text", "domain"]
    list_select_related = ["domain"]
    list_filter = [neighbour("domain", "domain__uid", _("domain"))]
    fields = ["text"]

    def summary(self, row: Keyword) -> list[tuple[Any, Any]]:
        (use,) = keyword_use.of_keywords(Keyword.unscoped.filter(pk=row.pk))
        return [
            (_("Domain"), link_to(row.domain)),
            (_("Heard in 30 days"), use.heard),
            (_("Accepted in 30 days"), use.accepted),
            (_("Refused in 30 days"), use.refused),
        ]

    def find(self, request: HttpRequest, text: str) -> list[Keyword]:
        return []
