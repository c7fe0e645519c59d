"""`TypedJSONField`: a JSON column whose Python value is a frozen dataclass, not a dictionary."""

from __future__ import annotations

from typing import Any, Protocol, Self, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.fields.json import KeyTransform


class JsonValue(Protocol):
    """Value with methods that convert it to and from JSON-compatible data."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self: ...

    def to_json(self) -> dict[str, Any]: ...


Value = TypeVar("Value")


class TypedJSONField(models.JSONField[Value, Value]):
    """A ``JSONField`` for instances of ``value_type``, a class with the methods of ``JsonValue``.

    Migrations see a plain ``JSONField`` with an empty object as its default, so that they import no code of
    the application. Lookups of a key (``recognition__language="ja"``) work as with any ``JSONField``.
    """

    def __init__(self, value_type: type[JsonValue], *args: Any, **kwargs: Any) -> None:
        self.value_type = value_type
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        name, _path, args, kwargs = super().deconstruct()
        if kwargs.get("default") is not None:
            kwargs["default"] = dict
        return name, "django.db.models.JSONField", args, kwargs

    def clone(self) -> Any:
        _name, _path, args, kwargs = super().deconstruct()
        kind: Any = type(self)
        return kind(self.value_type, *args, **kwargs)

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:
        document = super().from_db_value(value, expression, connection)
        if isinstance(expression, KeyTransform) or not isinstance(document, dict):
            return document
        return self.value_type.from_json(document)

    def to_python(self, value: Any) -> Any:
        return self.value_type.from_json(value) if isinstance(value, dict) else super().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value.to_json() if isinstance(value, self.value_type) else value)

    def differences(self, old: JsonValue | None, new: JsonValue | None) -> dict[str, list[Any]]:
        """Differences between two values: ``{key: [before, after]}``."""
        before, after = old.to_json() if old else {}, new.to_json() if new else {}
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return {name: [before.get(name), after.get(name)] for name in names}

    def described(self, name: str, value: Any) -> tuple[Any, Any] | None:
        """Label and value of a key for people; ``None`` if ``value_type`` does not describe its keys."""
        describe = getattr(self.value_type, "described", None)
        return describe(name, value) if describe else None

    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        if value is not None and not isinstance(value, self.value_type):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": value})
        models.Field.validate(self, value, model_instance)

    def value_to_string(self, obj: models.Model) -> Any:
        value = self.value_from_object(obj)
        return value.to_json() if isinstance(value, self.value_type) else value
