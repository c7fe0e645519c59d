"""Optimistic locking of HTML forms, the counterpart of ``If-Match`` in the API.

A form contains a digest of every value that it was opened with. When it is submitted, each field is one of:

- unchanged by the sender: it is removed from the cleaned data, so that it is not written;
- changed by the sender alone: it is written;
- changed by the sender and, to another value, by somebody else: a conflict. The form is shown again with
  both values (``conflicts``, templates/includes/field_errors.html), and the sender chooses which to keep.
  Submitted again without a choice, the typed value is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.db.models import Model, QuerySet
from django.http import QueryDict
from django.utils.choices import normalize_choices
from django.utils.translation import gettext as _

NAME = "opened_with"
KEEP = "keep_"  # prefix of the radio buttons that choose between the two values of a conflict
THEIRS = "theirs"
LONGEST_SHOWN = 300  # shown characters of a line
MOST_LINES = 20  # shown lines of a value


@dataclass(frozen=True, slots=True)
class ShownLine:
    """Line of one value of a conflict. ``differs``: the other value does not contain it."""

    text: str
    differs: bool


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """Conflict of one field: both values, for the page to show. An empty value has no lines."""

    choice: str  # name of the radio buttons; their values are "theirs" and "yours"
    theirs: list[ShownLine]
    yours: list[ShownLine]


class VersionedForm(forms.BaseForm):
    """Mixin for forms with optimistic locking. It must precede ``ModelForm`` in the bases."""

    declared_fields: ClassVar[dict[str, forms.Field]] = {
        NAME: forms.CharField(required=False, widget=forms.HiddenInput)
    }
    unversioned: ClassVar[frozenset[str]] = frozenset()  # fields that are not values of the instance

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared = False
        self.changed_by_sender: set[str] = set()
        self.conflicts: dict[str, FieldConflict] = {}

    def unchanged_since(self, form: VersionedForm) -> None:
        """Raise ``ValidationError`` if a field that the sender changed was also changed since ``clean``.

        For services that lock the row after the form was validated; ``form`` is built from the locked row.
        """
        form._prepare()
        names = [name for name in self._present if name in self.changed_by_sender]
        if any(form._present.get(name) != self._present[name] for name in names):
            raise forms.ValidationError(_("Somebody else saved at the same moment. Please save again."))

    def _prepare(self) -> None:
        """Compute the digests; called late, since constructors of subclasses also set initial values."""
        if not self._prepared:
            self._prepared = True
            self._present = {name: self._initial_text(name) for name in self._versioned()}
            self.initial[NAME] = json.dumps({name: _digest(text) for name, text in self._present.items()})

    def __getitem__(self, name: str) -> forms.BoundField:
        self._prepare()
        return super().__getitem__(name)

    def clean(self) -> dict[str, Any]:
        self._prepare()
        cleaned = super().clean() or self.cleaned_data
        opened = _read(cleaned.pop(NAME, ""))
        if not opened:
            return cleaned
        names = [name for name in self._versioned() if name in opened]
        untouched = [name for name in names if self._takes_theirs(name)]
        for name in untouched:
            cleaned.pop(name, None)
            self.errors.pop(name, None)
        for name in [name for name in names if name in cleaned]:
            typed = _digest(self._text(name, cleaned[name]))
            present = _digest(self._present[name])
            if typed == opened[name]:
                del cleaned[name]
                untouched.append(name)
            elif present not in {opened[name], typed}:
                self._add_conflict(name, cleaned[name])
                cleaned.pop(name, None)
            else:
                self.changed_by_sender.add(name)
        self._renew(untouched)
        return cleaned

    def _versioned(self) -> list[str]:
        """Names of the compared fields; none for a new instance."""
        instance = getattr(self, "instance", None)
        if instance is None or instance.pk is None:
            return []
        return [
            name
            for name, field in self.fields.items()
            if name not in {NAME, *self.unversioned}
            and not field.disabled
            and not isinstance(field, forms.FileField)
            and not isinstance(field.widget, forms.PasswordInput)
        ]

    def _takes_theirs(self, name: str) -> bool:
        """Whether the sender resolved a conflict in favour of the other person's value."""
        return bool(self.data.get(self.add_prefix(KEEP + name)) == THEIRS)

    def _initial_text(self, name: str) -> str:
        """Present value of a field, normalised as cleaning would, to be comparable with submitted ones."""
        field = self.fields[name]
        value = field.prepare_value(self.get_initial_for_field(field, name))
        if not isinstance(field, forms.ModelChoiceField):  # whose to_python queries the database
            with suppress(forms.ValidationError):  # a choice that is no longer offered
                value = field.to_python(value)
        return self._text(name, value)

    def _text(self, name: str, value: Any) -> str:
        """Canonical text of a field's value, with multiple choices sorted."""
        if isinstance(self.fields[name], forms.MultipleChoiceField | forms.ModelMultipleChoiceField):
            return "\n".join(sorted(_text(each) for each in value or ()))
        return _text(value)

    def _renew(self, untouched: Iterable[str]) -> None:
        """Update the submitted data for a form that is shown again: present digests and untouched values."""
        data = QueryDict(mutable=True)
        data.update(self.data)  # keeps repeated names
        data[self.add_prefix(NAME)] = self.initial[NAME]
        for name in untouched:
            field, key = self.fields[name], self.add_prefix(name)
            value = field.prepare_value(self.get_initial_for_field(field, name))
            data.pop(key, None)
            if isinstance(field, forms.BooleanField):
                if value:
                    data[key] = "on"
            elif isinstance(value, list | tuple):
                data.setlist(key, list(value))
            else:
                data[key] = "" if value is None else str(value)
        self.data = data

    def _add_conflict(self, name: str, typed: Any) -> None:
        theirs, yours = self._labels(name, self._present[name]), self._labels(name, self._text(name, typed))
        self.conflicts[name] = FieldConflict(
            choice=self.add_prefix(KEEP + name), theirs=_lines(theirs, yours), yours=_lines(yours, theirs)
        )
        sentence = _(
            "Somebody else changed this to “%(there)s” meanwhile; you entered “%(here)s”."
            " Save again to keep yours."
        ) % {"there": _joined(self.conflicts[name].theirs), "here": _joined(self.conflicts[name].yours)}
        self.add_error(name, forms.ValidationError(sentence, code="conflict"))

    def _labels(self, name: str, text: str) -> list[str]:
        """Lines of a value for people: labels instead of codes of choices, yes or no instead of a boolean."""
        field = self.fields[name]
        if isinstance(field, forms.BooleanField):
            return [_("yes") if text == "True" else _("no")]
        lines = text.splitlines()
        if isinstance(field, forms.ChoiceField | forms.ModelMultipleChoiceField):
            choices: Iterable[tuple[Any, Any]] = normalize_choices(field.choices)
            labels = {str(value): str(label) for value, label in _flat(choices)}
            return [labels.get(line, line) for line in lines or [""] if line or "" in labels]
        return lines


def _flat(choices: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
    """Choices without their groups."""
    for value, label in choices:
        if isinstance(label, list | tuple):
            yield from label
        else:
            yield value, label


def _lines(lines: list[str], others: list[str]) -> list[ShownLine]:
    """Lines of a value to show; of a long value, only those that the other value lacks."""
    known = set(others)
    shown = [
        ShownLine(line if len(line) <= LONGEST_SHOWN else line[:LONGEST_SHOWN] + "…", line not in known)
        for line in lines
    ]
    if max(len(lines), len(others)) > MOST_LINES:
        shown = [line for line in shown if line.differs]
        if len(shown) < len(lines) or len(shown) > MOST_LINES:
            shown = [*shown[:MOST_LINES], ShownLine("…", differs=False)]
    return shown


def _joined(lines: list[ShownLine]) -> str:
    return ", ".join(line.text for line in lines) or "–"


def _text(value: Any) -> str:
    """Canonical text of a value, the same for one from the database and one from the form."""
    match value:
        case None:
            return ""
        case Model():
            return str(value.pk)
        case QuerySet():
            return "\n".join(_text(each) for each in value)
        case Decimal():
            return format(value.normalize(), "f")
        case str():
            return "\n".join(value.strip().splitlines())
        case list() | tuple() | set():
            return "\n".join(_text(each) for each in value)
        case _:
            return str(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(text: str) -> dict[str, str]:
    try:
        given = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(given, dict):
        return {}
    return {str(name): value for name, value in given.items() if isinstance(value, str)}
