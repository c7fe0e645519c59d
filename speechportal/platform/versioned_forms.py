"""Optimistic locking of HTML forms: what ``If-Match`` is to the API.

A form carries a digest of every value that it was opened with. When it comes back, each field is one of:

- not touched by the sender: it is left out of the cleaned data, so that it is not written;
- changed by the sender alone: it is written;
- changed by the sender and by somebody else, to something different: a conflict. The form comes back with
  what was typed and says what is there now. Sent again, it overwrites that knowingly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.db.models import Model
from django.http import QueryDict
from django.utils.choices import normalize_choices
from django.utils.translation import gettext as _

NAME = "opened_with"
LONGEST_SHOWN = 300  # characters of a value in a message
MOST_LINES = 20  # lines of a list that differ, in a message


class VersionedForm(forms.BaseForm):
    """Mixin of forms that edit something which other people may edit too. Put it before ``ModelForm``."""

    declared_fields: ClassVar[dict[str, forms.Field]] = {
        NAME: forms.CharField(required=False, widget=forms.HiddenInput)
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared = False
        self.changed_by_sender: set[str] = set()

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
        untouched, is_conflict = [], False
        for name in [name for name in self._versioned() if name in cleaned and name in opened]:
            typed = _digest(_text(cleaned[name]))
            present = _digest(self._present[name])
            if typed == opened[name]:
                del cleaned[name]
                untouched.append(name)
            elif present not in {opened[name], typed}:
                sentence = self._conflict(name, cleaned[name])
                self.add_error(name, forms.ValidationError(sentence, code="conflict"))
                cleaned.pop(name, None)
                is_conflict = True
            else:
                self.changed_by_sender.add(name)
        if is_conflict:
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
            if name != NAME
            and not field.disabled
            and not isinstance(field, forms.FileField)
            and not isinstance(field.widget, forms.PasswordInput)
        ]

    def _initial_text(self, name: str) -> str:
        """The present value as it reads after it was cleaned, so that both sides are comparable."""
        field = self.fields[name]
        value = field.prepare_value(self.get_initial_for_field(field, name))
        if not isinstance(field, forms.ModelChoiceField):  # which would ask the database
            with suppress(forms.ValidationError):  # a choice that is offered no longer
                value = field.to_python(value)
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

    def _conflict(self, name: str, typed: Any) -> str:
        present, own = self._present[name].splitlines(), _text(typed).splitlines()
        if len(present) > 1 or len(own) > 1:
            added, removed = _lines(present, own), _lines(own, present)
            return _(
                "Somebody else changed this meanwhile. Only there: %(there)s. Only here: %(here)s."
                " Save again to keep what is here."
            ) % {"there": added or "–", "here": removed or "–"}
        return _(
            "Somebody else changed this to “%(there)s” meanwhile; you entered “%(here)s”."
            " Save again to keep yours."
        ) % {"there": self._shown(name, self._present[name]), "here": self._shown(name, _text(typed))}

    def _shown(self, name: str, text: str) -> str:
        """A value as the page shows it: the label of a choice, yes or no."""
        field = self.fields[name]
        if isinstance(field, forms.BooleanField):
            return _("yes") if text == "True" else _("no")
        if isinstance(field, forms.ChoiceField):
            choices: Iterable[tuple[Any, Any]] = normalize_choices(field.choices)
            text = next((str(label) for value, label in choices if str(value) == text), text)
        return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _lines(lines: list[str], others: list[str]) -> str:
    """The lines that the others lack."""
    known = set(others)
    found = [line for line in lines if line not in known]
    more = ["…"] if len(found) > MOST_LINES else []
    return ", ".join(found[:MOST_LINES] + more)


def _text(value: Any) -> str:
    """One spelling of a value, whether it comes from the database or from the form."""
    match value:
        case None:
            return ""
        case Model():
            return str(value.pk)
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
