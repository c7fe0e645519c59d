"""Connections in admin: changes use the same services as the pages of members; secrets are never shown."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from speechportal.storage import kinds, services
from speechportal.storage.forms import field_of
from speechportal.storage.models import Connection
from speechportal.support.actions import Action
from speechportal.support.admin import PortalModelAdmin, ReasonedForm, link_to
from speechportal.support.lists import choices, neighbour

BATCHES_SHOWN = 50


class ConnectionAdminForm(ReasonedForm):
    provider = forms.ChoiceField(label=_("Storage"))

    class Meta:
        model = Connection
        fields = ["account", "name", "provider"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, parameter in kinds.PARAMETERS.items():
            if name in self.fields:
                self.fields[name].initial = self.instance.parameters.get(name, parameter.default)
        if provider := self.fields.get("provider"):
            assert isinstance(provider, forms.ChoiceField)  # noqa: S101 - declared above
            provider.choices = kinds.choices()

    def _post_clean(self) -> None:
        # The service validates, and knows the secret; the form would not.
        pass


def _with_parameters(form: type[ConnectionAdminForm]) -> type[ConnectionAdminForm]:
    """Add a form field for each parameter of every storage kind."""
    fields = {name: field_of(each) for name, each in kinds.PARAMETERS.items()}
    for name, parameter in kinds.PARAMETERS.items():
        if parameter.secret:
            fields[name].help_text = _("It is never shown. Leave it empty to keep it as it is.")
    return type("ConnectionAdminForm", (form,), fields)


class TestConnection(Action):
    name, label = "test", _("Test")
    description = _("List, write, read, move and delete a small file in the storage.")
    permission = "storage.change_connection"
    for_many = False  # Each row is a slow network request.

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
    form = _with_parameters(ConnectionAdminForm)
    find_exact = ("uid", "account__uid")
    find_part = ("name", "place")
    list_display = ["name", "uid", "storage", "account", "place", "state", "created_at"]
    list_select_related = ["account"]
    list_filter = [
        neighbour("account", "account__uid", _("account")),
        choices("provider", _("storage"), kinds.choices),
    ]
    autocomplete_fields = ["account"]
    portal_actions = [TestConnection, DeleteConnection]

    def get_readonly_fields(self, request: HttpRequest, obj: Connection | None = None) -> list[str]:
        # A change of account or storage kind would make it another connection.
        return ["account", "provider"] if obj is not None else []

    def get_fields(self, request: HttpRequest, obj: Connection | None = None) -> Any:
        # Only an editable form has fields for the parameters; a read-only page shows the location.
        editable = obj is None or self.has_change_permission(request, obj)
        return ["account", "name", "provider", *(kinds.PARAMETERS if editable else ["place"])]

    @admin.display(description=_("storage"), ordering="provider")
    def storage(self, connection: Connection) -> str:
        return connection.get_provider_display()

    @admin.display(description=_("state"))
    def state(self, connection: Connection) -> str:
        if connection.last_error:
            return connection.last_error
        return gettext("In order") if connection.last_ok_at else gettext("Not checked yet")

    def summary(self, row: Connection) -> list[tuple[Any, Any]]:
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
        given = {name: data[name] for name in ("name", "provider", *kinds.PARAMETERS) if name in data}
        if change:
            services.update_connection(connection=obj, **given)
        else:
            made = services.create_connection(account=data["account"], **given)
            obj.__dict__.update(made.__dict__)
