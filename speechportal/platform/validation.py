"""Model validation that assigns the error of each constraint to a form field."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models


def clean(
    instance: models.Model,
    fields: Mapping[str, str],
    taken: Mapping[str, ValidationError] | None = None,
) -> None:
    """Call ``full_clean()`` and move the error of each constraint in ``fields`` to the field given there.

    The error's code is the constraint's name, as when the database refuses the row. ``taken`` maps fields to
    errors that replace Django's error for a duplicate value. Raises ``ValidationError``.
    """
    try:
        instance.full_clean()
    except ValidationError as error:
        errors = dict(error.error_dict)
        names = {str(rule.get_violation_error_message()): rule.name for rule in instance._meta.constraints}
        for each in errors.pop(NON_FIELD_ERRORS, []):
            name = names.get(str(each.message), "")
            place = fields.get(name, NON_FIELD_ERRORS)
            told = ValidationError(each.message, code=name) if name in fields else each
            errors.setdefault(place, []).append(told)
        for field, sentence in (taken or {}).items():
            if any(each.code == "unique" for each in errors.get(field, [])):
                errors[field] = [sentence]
        raise ValidationError(errors) from error
