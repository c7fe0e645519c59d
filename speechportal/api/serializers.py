"""Base serializers: unknown fields are refused, and ``fields=`` selects fields of a response."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from rest_framework import serializers

from speechportal.api.problems import InvalidParameters


class Number(serializers.IntegerField):
    """Integer query parameter: digits only."""

    def to_internal_value(self, data: Any) -> int:
        if not (isinstance(data, str) and re.fullmatch(r"-?[0-9]{1,18}", data)):
            self.fail("invalid")
        return int(super().to_internal_value(data))


class YesOrNo(serializers.BooleanField):
    """Boolean query parameter: ``true`` or ``false``."""

    def to_internal_value(self, data: Any) -> bool:
        if data not in {"true", "false"}:
            self.fail("invalid", input=data)
        return bool(data == "true")


class Input(serializers.Serializer[Any]):
    """Request body. Unknown fields are refused."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        errors: dict[str, Any] = {
            name: [serializers.ErrorDetail(_("There is no such field."), code="unknown_field")]
            for name in unknown
        }
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not isinstance(error.detail, dict):
                raise
            errors.update(error.detail)
        if errors:
            raise serializers.ValidationError(errors)
        return value


class Output(serializers.Serializer[Any]):
    """Response body; ``fields=`` of the query selects fields, always with the ID.

    ``passing`` names the fields that change by themselves, which the ETag does not cover.
    """

    passing: ClassVar[frozenset[str]] = frozenset()
    sparse: ClassVar[bool] = True  # whether ``fields=`` can leave some out

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        wanted = self.context.get("wanted")
        if wanted:
            unknown = [name for name in wanted if name not in self.fields]
            if unknown:
                raise InvalidParameters({"fields": [_("Unknown field: %s.") % ", ".join(unknown)]})
            for name in set(self.fields) - {*wanted, "id"}:
                self.fields.pop(name)


class Parameters(serializers.Serializer[Any]):
    """Query parameters."""

    lists: ClassVar[frozenset[str]] = frozenset()  # parameters that may be repeated

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for field in fields.values():
            if isinstance(field, serializers.CharField):
                field.trim_whitespace = False  # A space is a valid search term.
        return fields


class ItemParameters(Parameters):
    """Query parameters of a single object: which fields to return."""

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        # Not declared in the class: serializers have a property of this name. Its valid values and its
        # description depend on the view (speechportal/api/schema.py).
        fields["fields"] = serializers.CharField(required=False)
        return fields


class ListParameters(ItemParameters):
    """Query parameters of a list: page, order, filters and fields."""

    orderings: ClassVar[tuple[str, ...]] = ()
    more_on_ordering: ClassVar[str] = ""

    cursor = serializers.CharField(
        required=False, help_text="Where the page begins: taken from `next` or `previous` of another page."
    )
    page_size = Number(
        required=False, min_value=1, max_value=200, help_text="How many a page has; 50 unless told otherwise."
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        if self.orderings:
            fields["ordering"] = serializers.ChoiceField(
                [f"{sign}{name}" for name in self.orderings for sign in ("", "-")],
                required=False,
                help_text=f"With a minus sign: from the greatest down. {self.more_on_ordering}".strip(),
            )
        return fields


class Problem(serializers.Serializer[Any]):
    """An error (RFC 9457)."""

    type = serializers.CharField(help_text="A URN that stands for the code.")
    title = serializers.CharField(help_text="The phrase of the HTTP status.")
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, for people, in the language asked for.")
    code = serializers.CharField(help_text="What is wrong, for programs. Stable.")
    request_id = serializers.CharField(help_text="Tell it to support staff.")
    errors = serializers.ListField(  # type: ignore[assignment] # a field here, a property of the base class
        child=serializers.DictField(child=serializers.CharField()),
        required=False,
        help_text="Everything that is wrong: each with its field, code and message.",
    )
