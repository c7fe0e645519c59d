"""Strict serializer fields: they accept values of their own JSON type only.

A program that sends ``"false"`` for a flag, or a number for a name, gets an error.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class StrictCharField(serializers.CharField):
    default_error_messages = {"invalid": _("This must be text.")}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        # Before stripping: the documented limit is that of the value as sent.
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return str(super().to_internal_value(data))


class Choice(serializers.ChoiceField):
    default_error_messages = {"invalid_choice": _("“{input}” is not one of the choices.")}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or (data == "" and not self.allow_blank):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    default_error_messages = {"invalid": _("This must be true or false.")}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictIntegerField(serializers.IntegerField):
    default_error_messages = {"invalid": _("This must be a whole number.")}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return int(super().to_internal_value(data))


@extend_schema_field({"type": "string", "pattern": "^[a-z]{3}_[0-9a-z]{16}$"})
class AccountRelatedField(serializers.SlugRelatedField[Any]):
    """ID of an object of the request's account; any other ID is refused as unknown."""

    default_error_messages = {
        "does_not_exist": _("There is no such thing in this account: {value}."),
        "invalid": _("This must be an ID."),
    }

    def __init__(self, model: Any = None, **kwargs: Any) -> None:
        self.model = model
        kwargs.setdefault("slug_field", "uid")
        if not kwargs.get("read_only"):
            kwargs["queryset"] = ()  # Never used: get_queryset() returns the account's.
        super().__init__(**kwargs)

    def get_queryset(self) -> Any:
        return self.model.objects.for_account(self.context["request"].account)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)
