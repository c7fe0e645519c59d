"""Pages of an account's activity (audit trail) and of its privacy settings."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from speechportal.accounts.access import member_required
from speechportal.accounts.models import Account, AuditEntry, Membership
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked, update_account
from speechportal.platform.forms import submit
from speechportal.platform.versioned_forms import VersionedForm

PAGE_SIZE = 50
READING_DAYS = (1, 7, 30)


@member_required
def activity(request: PortalRequest) -> HttpResponse:
    """Audit trail of the account, newest first; ``?before=ID`` shows older entries."""
    entries = AuditEntry.objects.for_account(request.account)
    return render(request, "accounts/activity.html", activity_page(request, entries))


def activity_page(request: PortalRequest, entries: QuerySet[AuditEntry]) -> dict[str, Any]:
    """Context of ``accounts/_activity.html`` for ``entries`` of the request's account."""
    entries = entries.select_related("actor").order_by("-pk")
    before = AuditEntry.objects.for_account(request.account).filter(uid=request.GET.get("before", ""))
    if (last := before.first()) is not None:
        entries = entries.filter(pk__lt=last.pk)
    found = list(entries[: PAGE_SIZE + 1])
    older = found[PAGE_SIZE - 1].uid if len(found) > PAGE_SIZE else ""
    return {"entries": found[:PAGE_SIZE], "older": older, "is_first": last is None}


class PrivacyForm(VersionedForm, forms.ModelForm[Account]):
    """Form of the retention periods and of support staff's access to transcripts."""

    support = forms.TypedChoiceField(
        label=_("Support staff may read transcripts"),
        coerce=int,
        required=False,
        empty_value=None,
        help_text=_("To find out what went wrong. Each reading is listed under Activity."),
    )

    class Meta:
        model = Account
        fields = ["transcript_days", "log_days"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        days = ngettext_lazy("for %d day", "for %d days")
        choices: list[tuple[Any, Any]] = [(0, _("no")), *((each, days % each) for each in READING_DAYS)]
        if self.instance.support_may_read:
            choices.insert(0, ("", _("as now")))
        support = self.fields["support"]
        assert isinstance(support, forms.TypedChoiceField)  # noqa: S101 - declared above
        support.choices = choices

    def clean(self) -> dict[str, Any]:
        """Convert ``support`` to the time until which support staff may read transcripts."""
        cleaned = super().clean()
        days = cleaned.pop("support", None)
        if days is not None:
            cleaned["support_reads_until"] = timezone.now() + timedelta(days=days) if days else None
        return cleaned


@member_required
def privacy(request: PortalRequest) -> HttpResponse:
    if request.membership.role != Membership.Role.OWNER:
        raise PermissionDenied(_("Only an owner of the account decides about its privacy."))
    with account_locked(request.account):
        account = Account.objects.get(pk=request.account.pk)
        form = PrivacyForm(request.POST or None, instance=account)
        saved = submit(form, lambda: update_account(account=account, **form.cleaned_data))
    if saved is not None:
        messages.success(request, _("The account’s privacy settings were saved."))
        return redirect("account_privacy")
    return render(request, "accounts/privacy.html", {"form": form})
