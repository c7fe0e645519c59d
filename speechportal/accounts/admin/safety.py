"""Read-only admin of the audit trail, failed sign-ins, second factors and the queue's own tables."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.apps import apps
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.models import AuditEntry, AuthenticatorApp, Passkey, RecoveryCode, SignInFailures
from speechportal.accounts.sign_in import throttling
from speechportal.support.actions import Action
from speechportal.support.admin import ReadOnlyAdmin, link_to
from speechportal.support.lists import neighbour


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    find_exact = ("uid", "target_uid", "request_id", "account__uid")
    list_display = [
        "created_at",
        "who",
        "what_happened",
        "target_name",
        "reason",
        "account",
        "target_uid",
        "address",
    ]
    list_select_related = ["account", "actor"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        neighbour("target", "target_uid", _("what")),
    ]
    fields = ["created_at", "what_happened", "table_of_changes", "reason", "request_id", "address"]
    readonly_fields = ["what_happened", "table_of_changes"]

    @admin.display(description=_("what happened"))
    def what_happened(self, entry: AuditEntry) -> str:
        return f"{entry.kind_label} {entry.verb_label}"

    @admin.display(description=_("changes"))
    def table_of_changes(self, entry: AuditEntry) -> str:
        rows = [(label, _text(before), _text(after)) for label, before, after in entry.change_list]
        body = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", rows)
        head = format_html("<tr><td></td><th>{}</th><th>{}</th></tr>", _("before"), _("after"))
        return format_html("<table>{}{}</table>", head, body) if rows else "–"

    def summary(self, row: AuditEntry) -> list[tuple[Any, Any]]:
        return [
            (_("Who"), f"{row.who} ({row.get_actor_kind_display()})"),
            (_("What"), f"{row.kind_label} {row.target_name} {row.target_uid}"),
            (_("Account"), link_to(row.account)),
        ]

    def find(self, request: HttpRequest, text: str) -> list[AuditEntry]:
        return []  # The search finds the target of an entry, which links to its audit trail.


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, str | Promise) else json.dumps(value, ensure_ascii=False)


@admin.register(AuthenticatorApp)
class AuthenticatorAppAdmin(ReadOnlyAdmin[AuthenticatorApp]):
    find_exact: ClassVar[list[str]] = []
    find_part = ("user__email",)
    list_display = ["user", "created_at", "confirmed_at"]
    list_select_related = ["user"]
    fields = ["created_at", "confirmed_at"]

    def summary(self, row: AuthenticatorApp) -> list[tuple[Any, Any]]:
        return [(_("User"), link_to(row.user))]

    def find(self, request: HttpRequest, text: str) -> list[AuthenticatorApp]:
        return []


@admin.register(Passkey)
class PasskeyAdmin(ReadOnlyAdmin[Passkey]):
    """Passkeys, read-only; *Reset two-factor* on the user's page removes them."""

    find_exact: ClassVar[list[str]] = []
    find_part = ("user__email", "name")
    list_display = ["name", "user", "created_at", "last_used_at"]
    list_select_related = ["user"]
    fields = ["name", "created_at", "last_used_at"]

    def summary(self, row: Passkey) -> list[tuple[Any, Any]]:
        return [(_("User"), link_to(row.user))]

    def find(self, request: HttpRequest, text: str) -> list[Passkey]:
        return []


@admin.register(RecoveryCode)
class RecoveryCodeAdmin(ReadOnlyAdmin[RecoveryCode]):
    """Recovery codes: the number that a user has left; only their digests are stored."""

    find_exact: ClassVar[list[str]] = []
    find_part = ("user__email", "app__user__email")
    list_display = ["owner"]
    list_select_related = ["user", "app__user"]
    fields = ()

    @admin.display(description=_("user"))
    def owner(self, row: RecoveryCode) -> str:
        return str(row.owner)

    def summary(self, row: RecoveryCode) -> list[tuple[Any, Any]]:
        return [(_("User"), link_to(row.owner))]

    def find(self, request: HttpRequest, text: str) -> list[RecoveryCode]:
        return []


class LetTryAgain(Action):
    name, label = "reset", _("Let try again")
    description = _("Forgets the wrong passwords, so that signing in is possible at once.")
    permission = "accounts.delete_signinfailures"

    def perform(self, row: SignInFailures, answers: dict[str, Any]) -> str:
        if row.email:
            throttling.forget(email=row.email)
        else:
            row.delete()
        return gettext("Signing in is possible again.")


@admin.register(SignInFailures)
class SignInFailuresAdmin(ReadOnlyAdmin[SignInFailures]):
    """Wrong passwords of the last days, by address and network."""

    find_exact = ("email",)
    list_display = ["email", "network", "subject", "failures", "last_at", "wait_until"]
    fields = ["subject", "email", "network", "failures", "last_at", "wait_until"]
    portal_actions = [LetTryAgain]

    def matching(self, queryset: QuerySet[SignInFailures], text: str) -> Q:
        # An empty column means every network or every address; it does not match a search.
        network = throttling.network_named(text)
        return (Q(network=network) & ~Q(network="")) | (Q(email=normalised(text)) & ~Q(email=""))


def _register_queue_tables() -> None:
    """Register the queue's failures and messages, read-only, since an edited message would be run."""
    for name in ("Schedule", "Success", "Failure", "OrmQ"):
        model = apps.get_model("django_q", name)
        if admin.site.is_registered(model):
            admin.site.unregister(model)
    failure = apps.get_model("django_q", "Failure")

    class FailureAdmin(ReadOnlyAdmin[Any]):
        find_exact = ("id", "func")
        list_display = ["func", "started", "stopped", "attempt_count", "cluster"]
        fields = ["func", "cluster", "started", "stopped", "attempt_count"]

        def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
            from django.contrib.admin.views.main import ChangeList

            return ChangeList  # Random keys cannot be paged by keyset; django-q2 keeps few rows.

        def find(self, request: HttpRequest, text: str) -> list[Any]:
            return []

    admin.site.register(failure, FailureAdmin)


_register_queue_tables()
