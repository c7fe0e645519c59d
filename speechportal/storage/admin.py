"""Support staff's page for connections: changed by the services that members use, secrets never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.storage import services
from speechportal.storage.models import Connection
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, ReasonedForm, link_to
from speechportal.support.lists import neighbour

ENTERED = (
    *("name", "provider", "region", "endpoint_url", "bucket", "root_path", "access_key"),
    "local_folder",
)
BATCHES_SHOWN = 50


class ConnectionAdminForm(ReasonedForm):
    secret = forms.CharField(
        label=_("Secret"),
        required=False,
        help_text=_("It is never shown. Leave it empty to keep it as it is."),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Connection
        fields = ["account", *ENTERED]

    def _post_clean(self) -> None:
        # The service validates, and knows the secret; the form would not.
        pass


class TestConnection(Action):
    name, label = "test", _("Test")
    description = _("List, write, read, move and delete a small file in the storage.")
    permission = "storage.change_connection"
    for_many = False  # Each asks a storage, which may take its time.

    def perform(self, row: Connection, answers: dict[str, Any]) -> str:
        fault = next((each for each in services.check_connection(connection=row) if not each.ok), None)
        if fault is not None:
            raise ValidationError(f"{fault.label}: {fault.message}")
        return gettext("The storage is in order.")


class DeleteConnection(Action):
    name, label = "delete", _("Delete")
    description = _("The files stay. A connection that a batch uses stays, too.")
    permission = "storage.delete_connection"
    dangerous = True

    def perform(self, row: Connection, answers: dict[str, Any]) -> str:
        services.delete_connection(connection=row)
        return gettext("The connection was deleted.")


@admin.register(Connection)
class ConnectionAdmin(PortalModelAdmin[Connection]):
    form = ConnectionAdminForm
    find_exact = ("uid", "account__uid")
    find_part = ("name", "bucket", "local_folder")
    list_display = ["name", "uid", "provider", "account", "where", "state", "created_at"]
    list_select_related = ["account"]
    list_filter = [neighbour("account", "account__uid", _("account")), "provider"]
    autocomplete_fields = ["account"]
    portal_actions = [TestConnection, DeleteConnection]

    def get_readonly_fields(self, request: HttpRequest, obj: Connection | None = None) -> list[str]:
        # Another account's or another storage's files would be another connection.
        return ["account", "provider"] if obj is not None else []

    def get_fields(self, request: HttpRequest, obj: Connection | None = None) -> Any:
        # Only a form has the field for the secret: whoever just looks has no use for it.
        editable = obj is None or self.has_change_permission(request, obj)
        return ["account", *ENTERED, *(["secret"] if editable else [])]

    @admin.display(description=_("place"))
    def where(self, connection: Connection) -> str:
        return connection.place

    @admin.display(description=_("state"))
    def state(self, connection: Connection) -> str:
        if connection.last_error:
            return connection.last_error
        return gettext("In order") if connection.last_ok_at else gettext("Not checked yet")

    def glance(self, row: Connection) -> list[tuple[Any, Any]]:
        batches = row.batches.order_by("-pk")[:BATCHES_SHOWN]
        used_by = format_html_join(", ", "{}", ((link_to(batch),) for batch in batches))
        return [
            (_("ID"), row.uid),
            (_("Account"), link_to(row.account)),
            (_("Batches"), used_by or "–"),
            (_("State"), self.state(row)),
            (_("Last found in order"), row.last_ok_at or "–"),
        ]

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        data = form.cleaned_data
        given = {name: data[name] for name in ENTERED if name in data}
        secret = data.get("secret", "")
        if change:
            services.update_connection(connection=obj, secret=secret, **given)
        else:
            made = services.create_connection(account=data["account"], secret=secret, **given)
            obj.__dict__.update(made.__dict__)
