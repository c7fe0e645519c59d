"""`StorageKind`: the contract of a kind of storage, and `Parameter`, which describes its parameters."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from speechportal.storage.backends.base import ObjectStore

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

Values = dict[str, str]
Validator = Callable[[str], object]


@dataclass(frozen=True)
class Parameter:
    """Parameter of a storage kind; its value is text.

    Args:
        name: Key in the form, the API and the stored values.
        label: Label of the form field.
        help_text: Help text of the form field.
        max_length: In characters.
        required: Error message for a missing value; empty for an optional parameter.
        secret: Whether the value is encrypted and never shown again.
        confidential: Whether viewers do not see the value.
        default: Initial value in a new form.
        choices: Values and labels; empty for free text.
        validators: Raise ``ValidationError``.
        help_topic: Help page and heading that describe it.
        multiline: Whether the value has several lines, such as a key file.
    """

    name: str
    label: _StrOrPromise
    help_text: _StrOrPromise = ""
    max_length: int = 200
    required: _StrOrPromise = ""
    secret: bool = False
    confidential: bool = False
    default: str = ""
    choices: tuple[tuple[str, _StrOrPromise], ...] = ()
    validators: tuple[Validator, ...] = ()
    help_topic: str = ""
    multiline: bool = False

    def clean(self, value: str) -> None:
        """Raises ``ValidationError``."""
        if not value:
            if self.required:
                raise ValidationError(self.required, code="required")
            return
        if len(value) > self.max_length:
            raise ValidationError(
                _("At most %(limit)d characters."), code="max_length", params={"limit": self.max_length}
            )
        if self.choices and value not in dict(self.choices):
            raise ValidationError(_("This is not one of the choices."), code="invalid_choice")
        for validate in self.validators:
            validate(value)


@dataclass(frozen=True)
class Owner:
    """Owner of a connection: its account's and its own ID."""

    account_uid: str
    connection_uid: str


class StorageKind(abc.ABC):
    """Kind of storage: its parameters, their validation, and how a store is opened."""

    name: str
    label: _StrOrPromise
    parameters: tuple[Parameter, ...]
    serves_links = False  # Whether pre-signed URLs lead to the portal, which reads and writes the files.

    def is_available(self) -> bool:
        """Whether new connections of this kind can be made on this installation."""
        return True

    def normalise(self, values: Values) -> Values:
        """Return the values as they are stored, with derived values filled in."""
        return values

    def clean(self, values: Values, owner: Owner, others: Callable[[], list[str]]) -> Values:
        """Validate normalised values; ``others`` returns the locations of other accounts' connections.

        Returns the values to store. Raises ``ValidationError`` by parameter.
        """
        errors: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.secret:
                continue
            try:
                parameter.clean(values.get(parameter.name, ""))
            except ValidationError as error:
                errors[parameter.name] = error
        if errors:
            raise ValidationError(errors)
        return values

    @abc.abstractmethod
    def place(self, values: Mapping[str, str]) -> str:
        """Location of the files, for people."""

    @abc.abstractmethod
    def open(self, values: Mapping[str, str], owner: Owner) -> ObjectStore:
        """Open the store; ``values`` include the secrets. Raises ``StorageError``."""

    def from_member(self, values: Values, owner: Owner, stored: Mapping[str, str]) -> Values:
        """Convert values as members enter them to stored ones. Raises ``ValidationError`` by parameter."""
        return values

    def for_member(self, values: Values, owner: Owner) -> Values:
        """Convert stored values to those that members enter."""
        return values

    def fixed(self, values: Mapping[str, str], owner: Owner) -> dict[str, _StrOrPromise]:
        """Parameters that members cannot change, each with the reason."""
        return {}

    def prepare(self, values: Mapping[str, str], owner: Owner) -> None:  # noqa: B027 - optional
        """Called after a connection was saved; creates a member's own folder, for example."""

    def suggestions(self) -> list[dict[str, str]]:
        """Presets: each is a dictionary of values by parameter."""
        return []
