"""Page of a domain's text rules: replacements, forbidden words, redaction, and proposals from corrections."""

from __future__ import annotations

import csv
import io
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from batches.models import Task
from batches.transcripts import proposals, reprocessing, rule_trials
from domains import services
from domains.models import Domain
from domains.replacements import as_text, parse_replacements
from domains.text_forms import TextRulesFields, decoded
from speechportal.accounts.access import manager_required, member_required
from speechportal.accounts.members.views import owner_required
from speechportal.accounts.models import Membership
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked
from speechportal.platform.forms import submit
from speechportal.platform.http import download, neutral
from speechportal.platform.versioned_forms import VersionedForm


class TextRulesForm(TextRulesFields, VersionedForm, forms.ModelForm[Domain]):
    """Form of a domain's text rules. An uploaded ``replacement_file`` replaces the typed table."""

    unversioned = frozenset({"sample", "task"})
    help_topics = {
        "replacements": "redaction#replacements",
        "forbidden_words": "redaction#forbidden-words",
        "keep_original": "redaction#the-original",
        "muted_copy": "redaction#muted-copy",
    }
    replacement_file = forms.FileField(
        label=gettext_lazy("Replacements from a file"),
        required=False,
        help_text=gettext_lazy(
            "TXT with one replacement a line, or CSV with the columns heard, written, pattern and language."
            " It takes the place of the table."
        ),
        widget=forms.FileInput(attrs={"accept": ".txt,.csv,text/plain,text/csv"}),
    )
    sample = forms.CharField(
        label=gettext_lazy("Text to try the rules on"),
        required=False,
        max_length=100_000,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    task = forms.CharField(
        label=gettext_lazy("Or the ID of a task"),
        required=False,
        max_length=40,
        help_text=gettext_lazy("Its transcript stays as it is: nothing that is tried is kept."),
    )

    class Meta:
        model = Domain
        fields: list[str] = []

    def clean_replacement_file(self) -> Any:
        file = self.cleaned_data["replacement_file"]
        if not file:
            return None
        try:
            return parse_replacements(decoded(file))
        except ValidationError as error:
            raise forms.ValidationError(error.messages) from error

    def clean_task(self) -> Task | None:
        uid = self.cleaned_data["task"].strip()
        if not uid:
            return None
        task = Task.objects.for_account(self.instance.account).filter(uid=uid).first()
        if task is None:
            raise forms.ValidationError(_("The account has no task with this ID."))
        return task

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if rows := cleaned.pop("replacement_file", None):
            cleaned["replacements"] = rows
        return cleaned

    def rules(self) -> dict[str, Any]:
        """Cleaned data to save: without the fields of the trial."""
        return {name: value for name, value in self.cleaned_data.items() if name not in self.unversioned}

    def tried(self) -> dict[str, Any]:
        """Rules to try: the cleaned data, completed with the present rules for unchanged fields."""
        present = {
            "replacements": self.instance.replacements,
            "forbidden_words": self.instance.forbidden_words,
            "forbidden_action": self.instance.forbidden_action,
        }
        return present | self.cleaned_data


def _domain(request: PortalRequest, uid: str) -> Domain:
    return get_object_or_404(Domain.objects.for_account(request.account), uid=uid)


@manager_required
def text_rules(request: PortalRequest, uid: str) -> HttpResponse:
    """Edit the rules; with ``try``, show their effect on a sample without saving them."""
    trial = None
    if "try" in request.POST:
        domain = _domain(request, uid)
        form = TextRulesForm(request.POST, request.FILES or None, instance=domain)
        trial = submit(form, lambda: rule_trials.run(domain=domain, **form.tried()))
    else:
        with account_locked(request.account):
            domain = _domain(request, uid)
            form = TextRulesForm(request.POST or None, request.FILES or None, instance=domain)
            saved = submit(form, lambda: services.update_domain(domain=domain, **form.rules()))
        if saved is not None:
            messages.success(request, _("The text rules of “%s” were saved.") % domain.name)
            return redirect("text_rules:page", uid)
    present = _domain(request, uid)
    context = {
        "form": form,
        "domain": present,
        "trial": trial,
        "proposals": proposals.proposals(present),
        "transcripts": reprocessing.transcripts_of(present).count(),
        "is_owner": request.membership.role == Membership.Role.OWNER,
    }
    return render(request, "domains/text_rules.html", context)


@manager_required
@require_POST
def reprocess(request: PortalRequest, uid: str) -> HttpResponse:
    count = reprocessing.request(domain=_domain(request, uid))
    count_sentence = ngettext(
        "The rules are being applied to %d transcript; its result files are written again.",
        "The rules are being applied to %d transcripts; their result files are written again.",
        count,
    )
    messages.success(request, count_sentence % count)
    return redirect("text_rules:page", uid)


@owner_required
@require_POST
def delete_originals(request: PortalRequest, uid: str) -> HttpResponse:
    count = reprocessing.delete_originals(domain=_domain(request, uid))
    count_sentence = ngettext(
        "The original of %d transcript was deleted.",
        "The originals of %d transcripts were deleted.",
        count,
    )
    messages.success(request, count_sentence % count)
    return redirect("text_rules:page", uid)


@manager_required
@require_POST
def answer_proposal(request: PortalRequest, uid: str) -> HttpResponse:
    """Accept or decline a proposal: ``as`` is "replacement", "keyword" or "declined"."""
    domain = _domain(request, uid)
    heard, written = (str(request.POST.get(name, ""))[:100] for name in ("heard", "written"))
    answers = {
        "replacement": proposals.accept_as_replacement,
        "keyword": proposals.accept_as_keyword,
        "declined": services.decline_proposal,
    }
    answer = answers.get(str(request.POST.get("as", "")))
    known = any((each.heard, each.written) == (heard, written) for each in proposals.proposals(domain))
    if answer is not None and known:
        try:
            answer(domain=domain, heard=heard, written=written)
        except ValidationError as error:
            messages.error(request, error.messages[0])
    return redirect("text_rules:page", uid)


@member_required
def replacements_download(request: PortalRequest, uid: str, ending: str) -> HttpResponse:
    """Download the table of replacements, as text or as CSV with a byte order mark."""
    domain = _domain(request, uid)
    name = f"{domain.code}-replacements.{ending}"
    if ending == "txt":
        return download(as_text(domain.replacements), name, "text/plain; charset=utf-8")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["heard", "written", "pattern", "language"])
    for row in domain.replacements:
        writer.writerow(
            [neutral(row.heard), neutral(row.written), "yes" if row.is_pattern else "", row.language]
        )
    return download(f"\ufeff{file.getvalue()}", name, "text/csv; charset=utf-8")
