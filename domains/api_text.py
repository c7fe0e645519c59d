"""Serializers of a domain's text rules: replacements, forbidden words and redaction."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from domains.redaction import ACTIONS, KINDS, RedactionSettings
from domains.replacements import REPLACEMENT_LIMIT, TEXT_LENGTH, Replacement
from speechportal.api.fields import Choice, StrictBooleanField, StrictCharField
from speechportal.api.serializers import Input

CHOICES = [(name, str(name)) for name in ACTIONS]


class ReplacementInput(Input):
    heard = StrictCharField(max_length=TEXT_LENGTH, help_text="Words, or a pattern in RE2's syntax.")
    written = StrictCharField(
        max_length=TEXT_LENGTH, allow_blank=True, help_text="`\\1` to `\\9` are the groups of a pattern."
    )
    is_pattern = StrictBooleanField(default=False)
    language = StrictCharField(
        max_length=3, allow_blank=True, default="", help_text="Such as `ko`; empty: any language."
    )


class ReplacementsInput(Input):
    replacements = ReplacementInput(
        many=True,
        max_length=REPLACEMENT_LIMIT,  # type: ignore[call-arg] # the stubs leave out what lists take
    )


class ReplacementOutput(serializers.Serializer[Any]):
    heard = serializers.CharField()
    written = serializers.CharField()
    is_pattern = serializers.BooleanField()
    language = serializers.CharField()


class ReplacementsOutput(serializers.Serializer[Any]):
    replacements = ReplacementOutput(many=True)


def _kind_fields() -> dict[str, Choice]:
    return {kind: Choice(CHOICES, required=False, help_text=str(label)) for kind, label in KINDS.items()}


KindsInput: type[Input] = type("KindsInput", (Input,), _kind_fields())


class RedactionInput(Input):
    kinds = KindsInput(help_text="Kinds to redact: `mask`, `label` or `remove`. Others are left alone.")
    keep_original = StrictBooleanField(
        default=True, help_text="Keep the words as recognised, encrypted, for owners."
    )
    muted_copy = StrictBooleanField(
        default=False, help_text="Write a copy of the recording that is silent where something was redacted."
    )
    userdata = StrictBooleanField(
        default=False, help_text="Redact `userdata` of the CLOVA entry, too, before it is stored."
    )

    def to_internal_value(self, data: Any) -> RedactionSettings:
        if self.root is not self:
            # Not partial: an update may leave out fields of the domain, but none of these.
            whole = RedactionInput(data=data, context=self.context)
            whole.is_valid(raise_exception=True)
            settings: RedactionSettings = whole.validated_data
            return settings
        found = super().to_internal_value(data)
        return RedactionSettings(
            kinds=dict(found["kinds"]),
            keep_original=found["keep_original"],
            muted_copy=found["muted_copy"],
            userdata=found["userdata"],
        )


class RedactionOutput(serializers.Serializer[Any]):
    kinds = serializers.DictField(child=serializers.ChoiceField(CHOICES))
    keep_original = serializers.BooleanField()
    muted_copy = serializers.BooleanField()
    userdata = serializers.BooleanField()


def replacement_rows(fields: list[dict[str, Any]]) -> list[Replacement | str]:
    return [Replacement(**row) for row in fields]
