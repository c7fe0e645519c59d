"""Form of a connection, made from the parameters that the storage kinds declare."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.models import Account
from speechportal.platform.versioned_forms import VersionedForm
from speechportal.storage import kinds, services
from speechportal.storage.backends.kind import Parameter
from speechportal.storage.models import Connection


def field_of(parameter: Parameter) -> forms.Field:
    """Form field of a parameter. It is optional here: the kind checks which are required."""
    shared: dict[str, Any] = {
        "label": parameter.label,
        "help_text": parameter.help_text,
        "required": False,
        "initial": parameter.default,
    }
    if parameter.choices:
        return forms.ChoiceField(choices=parameter.choices, **shared)
    attributes = {"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off"}
    widget: forms.Widget = forms.TextInput(attrs=attributes)
    if parameter.multiline:
        widget = forms.Textarea(attrs={**attributes, "rows": 4})
    elif parameter.secret:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(max_length=parameter.max_length, widget=widget, **shared)


class ConnectionForm(VersionedForm, forms.ModelForm[Connection]):
    help_topics: ClassVar[dict[str, str]] = {
        "provider": "storages#kinds",
        **{name: each.help_topic for name, each in kinds.PARAMETERS.items() if each.help_topic},
    }
    provider = forms.ChoiceField(label=_("Storage"))

    class Meta:
        model = Connection
        fields = ["provider", "name"]

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.account = account
        self.account = account
        exists = self.instance.pk is not None
        provider = self.fields["provider"]
        assert isinstance(provider, forms.ChoiceField)  # noqa: S101 - declared above
        provider.choices = [
            (kind.name, kind.label)
            for kind in kinds.KINDS.values()
            if kind.is_available() or kind.name == self.instance.provider
        ]
        provider.disabled = exists  # Another storage kind would make it another connection.
        for parameter in kinds.PARAMETERS.values():
            self.fields[parameter.name] = field_of(parameter)
            if exists and parameter.secret:
                kept = _("It is never shown. Leave it empty to keep it as it is.")
                self.fields[parameter.name].help_text = kept
        if {"region", "endpoint_url"} <= set(self.fields):
            self.fields["region"].widget.attrs["list"] = "regions"
            self.fields["endpoint_url"].widget.attrs["list"] = "endpoints"
        if exists:
            kind, owner = self.instance.kind, self.instance.owner
            self.initial.update(kind.for_member(self.instance.parameters, owner))
            for name, reason in kind.fixed(self.instance.parameters, owner).items():
                self.fields[name].disabled = True
                self.fields[name].help_text = reason

    @property
    def parameter_fields(self) -> list[tuple[forms.BoundField, str, bool]]:
        """Fields of the parameters, each with the kinds that have it and whether it is required."""
        return [
            (self[parameter.name], " ".join(kinds.kinds_with(parameter.name)), bool(parameter.required))
            for parameter in kinds.PARAMETERS.values()
        ]

    @property
    def sites(self) -> list[dict[str, str]]:
        """Presets of the storage kinds, as values by parameter."""
        return [
            {"provider": kind.name, **suggestion}
            for kind in kinds.KINDS.values()
            for suggestion in kind.suggestions()
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        connection = self.instance if self.instance.pk else None
        head = {name: cleaned[name] for name in ("name", "provider") if name in cleaned}
        values = {name: value for name, value in cleaned.items() if name not in head}
        try:
            return head | services.from_member(self.account, head.get("provider", ""), values, connection)
        except ValidationError as error:
            self.add_error(None, error)
            return cleaned

    def _post_clean(self) -> None:
        # The service validates, and knows the secret; the form would not.
        pass
