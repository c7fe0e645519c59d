"""Serializer fields of the recognition settings, generated from their table ``SETTINGS``."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from batches.models.recognition_settings import Choice, Number, Setting, Words
from speechportal.api import fields


def input_field(name: str, setting: Setting) -> serializers.Field[Any, Any, Any, Any]:
    """Input field of a setting; its value goes to the ``recognition`` dictionary of the validated data."""
    common: dict[str, Any] = {
        "source": f"recognition.{name}",
        "required": False,
        "help_text": setting.help_text or None,
    }
    match setting:
        case Choice():
            return fields.Choice(setting.choices(), **common)
        case Number(minimum=minimum, maximum=maximum):
            return fields.StrictIntegerField(allow_null=True, min_value=minimum, max_value=maximum, **common)
        case Words(longest=longest):
            return fields.StrictCharField(allow_blank=True, max_length=longest, **common)
        case _:
            return fields.StrictBooleanField(**common)


def output_field(name: str, setting: Setting) -> serializers.Field[Any, Any, Any, Any]:
    """Output field of a setting."""
    source = f"recognition.{name}"
    match setting:
        case Choice():
            return serializers.ChoiceField(setting.choices(), source=source)
        case Number():
            return serializers.IntegerField(allow_null=True, source=source)
        case Words():
            return serializers.CharField(source=source)
        case _:
            return serializers.BooleanField(source=source)
