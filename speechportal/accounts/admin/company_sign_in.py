"""Accounts' own OpenID providers in admin, without their secrets. Staff confirm their domains here."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import AccountProvider
from speechportal.accounts.single_sign_on import account_providers
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, link_to

DOMAINS = ["domains", "confirmed_domains"]


class ConfirmDomains(Action):
    name, label = "confirm_domains", _("Domains are theirs")
    description = _(
        "Confirms that the e-mail domains belong to the company: the account’s provider then signs in whoever"
        " has an address there, and makes new users for them. Make sure, such as by a call back."
    )
    permission = "accounts.change_accountprovider"
    for_many = False
    dangerous = True

    def applies_to(self, row: AccountProvider) -> bool:
        return bool(set(row.domains.split()) - row.proven_domains)

    def perform(self, row: AccountProvider, answers: dict[str, Any]) -> str:
        return gettext("Confirmed: %s.") % ", ".join(account_providers.confirm_domains(row))


@admin.register(AccountProvider)
class AccountProviderAdmin(PortalModelAdmin[AccountProvider]):
    find_exact: ClassVar[list[str]] = ["uid", "account__uid"]
    find_part = ("issuer", "domains")
    list_display = ["issuer", "uid", "account", "domains", "confirmed_domains", "created_at"]
    list_select_related = ["account"]
    fields = [
        "client_id",
        "scopes",
        "groups_claim",
        "trusts_addresses",
        "domains",
        "confirmed_domains",
        "label",
    ]
    readonly_fields = ["client_id", *DOMAINS]
    portal_actions: ClassVar[list[type[Action]]] = [ConfirmDomains]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # Only an owner of the account enters the secret.

    def has_delete_permission(self, request: HttpRequest, obj: AccountProvider | None = None) -> bool:
        return False

    def summary(self, row: AccountProvider) -> list[tuple[Any, Any]]:
        rules = ", ".join(f"{group} = {role}" for group, role in row.rules)
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Issuer"), row.issuer),
            (_("Roles of groups"), rules or "–"),
            (_("Only company sign-in"), _("yes") if row.account.single_sign_on_only else _("no")),
        ]
