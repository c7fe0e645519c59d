"""Settings page of an account's own company sign-in, for owners; and the page that finds it by e-mail."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.members import memberships
from speechportal.accounts.members.views import owner_required
from speechportal.accounts.models import AccountProvider, Membership
from speechportal.accounts.requests import PortalRequest
from speechportal.accounts.services import account_locked, update_account
from speechportal.accounts.sign_in import throttling
from speechportal.accounts.single_sign_on import account_providers, protocol
from speechportal.accounts.single_sign_on.account_providers import DOMAIN, MOST_DOMAINS, MOST_RULES
from speechportal.accounts.single_sign_on.protocol import SignInError
from speechportal.platform.forms import submit
from speechportal.platform.versioned_forms import VersionedForm


class ProviderForm(VersionedForm, forms.ModelForm[AccountProvider]):
    class Meta:
        model = AccountProvider
        fields = ["issuer", "client_id", "scopes", "groups_claim", "trusts_addresses", "label"]

    unversioned = frozenset({"secret"})
    secret = forms.CharField(
        label=gettext_lazy("Client secret"),
        required=False,
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Stored encrypted and not shown again. Empty: the present one stays."),
    )
    groups = forms.CharField(
        label=gettext_lazy("Roles of groups"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy(
            "One a line: group = owner, manager or viewer. “* = viewer” is for whoever signs in. Without a"
            " line, roles stay as they are set here."
        ),
    )
    mail_domains = forms.CharField(
        label=gettext_lazy("E-mail domains"),
        required=False,
        max_length=2000,
        help_text=gettext_lazy(
            "Such as hanbit.example, with spaces between. Once support staff have confirmed them, people with"
            " these addresses come in by themselves."
        ),
    )
    field_order = ("issuer", "client_id", "secret", "scopes", "groups_claim", "groups", "mail_domains")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        row: AccountProvider = kwargs["instance"]
        lines = "\n".join(f"{group} = {role}" for group, role in row.rules)
        kwargs["initial"] = {"groups": lines, "mail_domains": row.domains, **kwargs.get("initial", {})}
        super().__init__(*args, **kwargs)

    def clean_issuer(self) -> str:
        return str(self.cleaned_data["issuer"]).rstrip("/")

    def clean_groups(self) -> str:
        self.rules = []
        for line in filter(str.strip, self.cleaned_data["groups"].splitlines()):
            group, equals, role = (part.strip() for part in line.rpartition("="))
            if not (equals and group) or role not in Membership.Role.values:
                raise forms.ValidationError(
                    _("“%(line)s” is not of the form group = role."), code="rule", params={"line": line[:80]}
                )
            self.rules.append([group[:255], role])
        if len(self.rules) > MOST_RULES:
            raise forms.ValidationError(_("At most %(count)d lines."), params={"count": MOST_RULES})
        return str(self.cleaned_data["groups"])

    def clean_mail_domains(self) -> str:
        words = sorted(set(self.cleaned_data["mail_domains"].lower().replace(",", " ").split()))
        for word in words:
            if not DOMAIN.fullmatch(word):
                raise forms.ValidationError(_("“%(word)s” is no domain."), params={"word": word[:80]})
        if len(words) > MOST_DOMAINS:
            raise forms.ValidationError(_("At most %(count)d domains."), params={"count": MOST_DOMAINS})
        return " ".join(words)

    def clean(self) -> dict[str, Any]:
        """Fetch the provider's discovery document, so that a wrong issuer is an error of the form."""
        cleaned = super().clean() or {}
        issuer = cleaned.get("issuer", self.instance.issuer)
        if issuer and not self.errors:
            found = AccountProvider(issuer=issuer, account=self.instance.account).provider()
            try:
                protocol.metadata(found)
            except SignInError as error:
                self.add_error("issuer", _("No provider answers there (%s).") % error)
        return cleaned


@owner_required
def account_provider(request: PortalRequest) -> HttpResponse:
    """Set up, change or remove the account's own company sign-in; choose its break-glass owners."""
    row = AccountProvider.objects.for_account(request.account).first()
    if request.method == "POST" and "remove" in request.POST:
        return _remove(request, row)
    if request.method == "POST" and "break_glass" in request.POST:
        return _set_break_glass(request)
    row = row or AccountProvider(account=request.account)
    row.account = request.account
    form = ProviderForm(request.POST or None, instance=row)
    saved = submit(form, lambda: _save(form, row))
    if saved is not None:
        messages.success(request, _("The company sign-in was saved. Try it before you require it."))
        return redirect("account_provider")
    owners = Membership.objects.filter(account=request.account, role=Membership.Role.OWNER)
    context = {
        "form": form,
        "provider": AccountProvider.objects.for_account(request.account).first(),
        "owners": owners.select_related("user").order_by("pk"),
        "callback": request.build_absolute_uri(reverse("company_sign_in_callback")),
        "start": request.build_absolute_uri(reverse("company_sign_in_to", args=[request.account.uid])),
        "tab": "sign_in",
    }
    return render(request, "accounts/provider.html", context)


def _save(form: ProviderForm, row: AccountProvider) -> AccountProvider:
    cleaned = form.cleaned_data
    if "groups" in cleaned:
        row.rules = form.rules
    if "mail_domains" in cleaned:
        row.domains = cleaned["mail_domains"]
    return account_providers.save(row, secret=cleaned.get("secret", ""))


def _remove(request: PortalRequest, row: AccountProvider | None) -> HttpResponse:
    """Remove the provider, and allow passwords again so that nobody is locked out."""
    if row is not None:
        with transaction.atomic():
            row.delete()
            update_account(account=request.account, single_sign_on_only=False)
        messages.success(request, _("The company sign-in was removed. The account takes passwords again."))
    return redirect("account_provider")


def _set_break_glass(request: PortalRequest) -> HttpResponse:
    wanted = set(request.POST.getlist("owner"))
    with account_locked(request.account):
        for each in Membership.objects.filter(account=request.account, role=Membership.Role.OWNER):
            memberships.set_break_glass(membership=each, on=str(each.pk) in wanted)
    messages.success(request, _("The break-glass owners were saved."))
    return redirect("account_provider")


class AddressForm(forms.Form):
    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )


def find(request: HttpRequest) -> HttpResponse:
    """Find the company sign-in for an e-mail address by its domain, and lead there."""
    if throttling.seconds_to_wait(request, ""):
        return throttling.refused(request)
    form = AddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        throttling.count_request(request)
        uid = account_providers.account_of_address(form.cleaned_data["email"])
        if uid is not None:
            # Not a redirect: this page's Content-Security-Policy forbids a form to redirect to another host.
            url = reverse("company_sign_in_to", args=[uid])
            return render(request, "accounts/company_sign_in_find.html", {"url": url})
        form.add_error("email", _("No company sign-in is set up for this address."))
    return render(request, "accounts/company_sign_in_find.html", {"form": form})
