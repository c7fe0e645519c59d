"""Optimistic locking of HTML forms: what ``If-Match`` is to the API.

A form carries a digest of every value that it was opened with. When it comes back, each field is one of:

- not touched by the sender: it is left out of the cleaned data, so that it is not written;
- changed by the sender alone: it is written;
- changed by the sender and by somebody else, to something different: a conflict. The form comes back with
  what was typed, and shows both values (``conflicts``, templates/includes/field_errors.html). The sender
  chooses which to keep; sent again without a choice, the typed value is written.
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
KEEP = "keep_"  # before a field's name: the choice between the two values of a conflict
THEIRS = "theirs"
LONGEST_SHOWN = 300  # characters of a line that is shown
MOST_LINES = 20  # lines of a value that are shown


@dataclass(frozen=True, slots=True)
class ShownLine:
    """A line of a value. ``differs``: the other value lacks it."""

    text: str
    differs: bool


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """Two values of one field, as the page shows them side by side. Without lines, a value is empty."""

    choice: str  # name of the radio buttons; their values are "theirs" and "yours"
    theirs: list[ShownLine]
    yours: list[ShownLine]


class VersionedForm(forms.BaseForm):
    """Mixin of forms that edit something which other people may edit too. Put it before ``ModelForm``."""

    declared_fields: ClassVar[dict[str, forms.Field]] = {
        NAME: forms.CharField(required=False, widget=forms.HiddenInput)
    }
    unversioned: ClassVar[frozenset[str]] = frozenset()  # fields that are no value of what is edited

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared = False
        self.changed_by_sender: set[str] = set()
        self.conflicts: dict[str, FieldConflict] = {}

    def unchanged_since(self, form: VersionedForm) -> None:
        """Raise ``ValidationError`` if what the sender changed is no longer what this form compared it with.

        For services that lock the row later than the form was read; ``form`` is made of the locked row.
        """
        form._prepare()
        names = [name for name in self._present if name in self.changed_by_sender]
        if any(form._present.get(name) != self._present[name] for name in names):
            raise forms.ValidationError(_("Somebody else saved at the same moment. Please save again."))

    def _prepare(self) -> None:
        """Once all initial values are known: they are set by constructors of subclasses, too."""
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
        """The fields that are compared: none of something new."""
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
        """Whether the sender chose the other value of a conflict that the form was sent back with."""
        return bool(self.data.get(self.add_prefix(KEEP + name)) == THEIRS)

    def _initial_text(self, name: str) -> str:
        """The present value as it reads after it was cleaned, so that both sides are comparable."""
        field = self.fields[name]
        value = field.prepare_value(self.get_initial_for_field(field, name))
        if not isinstance(field, forms.ModelChoiceField):  # which would ask the database
            with suppress(forms.ValidationError):  # a choice that is offered no longer
                value = field.to_python(value)
        return self._text(name, value)

    def _text(self, name: str, value: Any) -> str:
        """One spelling of a field's value; what was chosen from a list has no order."""
        if isinstance(self.fields[name], forms.MultipleChoiceField | forms.ModelMultipleChoiceField):
            return "\n".join(sorted(_text(each) for each in value or ()))
        return _text(value)

    def _renew(self, untouched: Iterable[str]) -> None:
        """The form that comes back is about what is there now: only what was typed differs from it."""
        data = QueryDict(mutable=True)
        data.update(self.data)  # also several values of one name
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
        """The lines of a value as the page shows them: the labels of choices, yes or no."""
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
    """The choices without their groups."""
    for value, label in choices:
        if isinstance(label, list | tuple):
            yield from label
        else:
            yield value, label


def _lines(lines: list[str], others: list[str]) -> list[ShownLine]:
    """The lines of a value, or of a long one those that the other lacks."""
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
    """One spelling of a value, whether it comes from the database or from the form."""
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
