"""Helpers for the forms of all apps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

T = TypeVar("T")


def submit(form: forms.BaseForm, service: Callable[[], T]) -> T | None:
    """Call a service if the form is valid; a ``ValidationError`` of the service becomes the form's errors.

    Returns the service's result, or ``None`` if there were errors.
    """
    if not form.is_valid():
        return None
    try:
        return service()
    except ValidationError as error:
        add_errors(form, error)
        return None


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Add each error to its field, or to the whole form if the form lacks that field."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, errors in error.error_dict.items():
        known = name != NON_FIELD_ERRORS and name in form.fields
        form.add_error(name if known else None, errors)
