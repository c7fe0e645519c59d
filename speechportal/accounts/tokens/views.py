"""Pages of API tokens: list, create (shown once), revoke."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.access import VIEWER_REFUSED, manager_required, member_required
from speechportal.accounts.models import ApiToken
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.tokens import api_tokens, scopes
from speechportal.platform.forms import submit

RIGHTS = [
    ("", gettext_lazy("Nothing")),
    ("read", gettext_lazy("Read")),
    ("write", gettext_lazy("Read and change")),
]
LIVES = [
    ("30", gettext_lazy("30 days")),
    ("90", gettext_lazy("90 days")),
    ("365", gettext_lazy("A year")),
    ("ever", gettext_lazy("Until it is revoked")),
]


class TokenForm(forms.Form):
    """Form of a token: name, access by area, allowed networks and expiry."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("What uses it, so that you know it again."),
    )
    everywhere = forms.ChoiceField(
        label=gettext_lazy("In all areas"),
        choices=[*RIGHTS[1:], ("areas", gettext_lazy("As chosen for each area below"))],
        initial="read",
    )
    days = forms.ChoiceField(label=gettext_lazy("Valid for"), choices=LIVES, initial="90")
    allowed_addresses = forms.CharField(
        label=gettext_lazy("Only from these addresses"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text=gettext_lazy(
            "Addresses or networks such as 192.0.2.0/24, one a line. Empty: from anywhere."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for area, label in scopes.AREAS.items():
            self.fields[f"area_{area}"] = forms.ChoiceField(label=label, choices=RIGHTS, required=False)

    @property
    def general(self) -> list[forms.BoundField]:
        return [field for field in self if not field.name.startswith("area_")]

    @property
    def areas(self) -> list[forms.BoundField]:
        return [field for field in self if field.name.startswith("area_")]

    @property
    def areas_open(self) -> bool:
        return any(field.value() for field in self.areas)

    def clean(self) -> dict[str, Any]:
        """Convert the fields to the arguments of :func:`.api_tokens.create_token`."""
        given = super().clean() or {}
        wanted = [right for right in (given.get("everywhere"),) if right in {"read", "write"}]
        wanted += [f"{area}:{right}" for area in scopes.AREAS if (right := given.get(f"area_{area}"))]
        if not wanted and "everywhere" in given:
            self.add_error("everywhere", _("Choose what the token may do, here or for an area."))
        return {
            "name": given.get("name", ""),
            "scopes": wanted,
            "allowed_addresses": given.get("allowed_addresses", "").split(),
            "expires_at": _expiry(given.get("days", "")),
        }


def _expiry(days: str) -> datetime | None:
    return timezone.now() + timedelta(days=int(days)) if days.isdigit() else None


@member_required
def token_list(request: PortalRequest) -> HttpResponse:
    """List the account's tokens to all members; managers create new ones."""
    if request.method == "POST" and not request.membership.can_change:
        raise PermissionDenied(str(VIEWER_REFUSED))
    form = TokenForm(request.POST or None)
    made = submit(
        form,
        lambda: api_tokens.create_token(
            account=request.account, created_by=request.user, **form.cleaned_data
        ),
    )
    token, plain = made if made is not None else (None, "")
    found = ApiToken.objects.for_account(request.account).select_related("created_by")
    context = {
        "form": TokenForm() if made is not None else form,
        "tokens": api_tokens.active(found),
        "ended": found.exclude(pk__in=api_tokens.active(found).values("pk"))[:20],
        "made": token,
        "plain": plain,
    }
    response = render(request, "accounts/tokens.html", context)
    response["Cache-Control"] = "no-store"  # The browser must not show the token again.
    return response


@manager_required
def token_revoke(request: PortalRequest, uid: str) -> HttpResponse:
    """Revoke a token, after a confirmation."""
    token = get_object_or_404(ApiToken.objects.for_account(request.account), uid=uid)
    if request.method == "POST":
        api_tokens.revoke_token(token=token)
        messages.success(
            request, _("The API token “%s” was revoked. It opens nothing any more.") % token.name
        )
        return redirect("account_tokens")
    return render(request, "accounts/token_revoke.html", {"token": token})
