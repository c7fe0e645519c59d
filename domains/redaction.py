"""`RedactionSettings`: which sensitive data is redacted in a domain's transcripts, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

KINDS: Mapping[str, _StrOrPromise] = {
    "card": _("Card numbers"),
    "resident": _("Resident registration numbers"),
    "business": _("Business registration numbers"),
    "passport": _("Passport numbers"),
    "licence": _("Driving licence numbers"),
    "phone": _("Telephone numbers"),
    "account": _("Account numbers"),
    "email": _("E-mail addresses"),
    "birth": _("Dates of birth"),
    "name": _("People's names"),
    "address": _("Postal addresses"),
}
OFF = ""
ACTIONS: Mapping[str, _StrOrPromise] = {
    "mask": _("Mask: ****"),
    "label": _("Label: [CARD]"),
    "remove": _("Remove"),
}


@dataclass(frozen=True, kw_only=True)
class RedactionSettings:
    """Redaction settings of a domain. ``kinds`` has the action for each kind of data to redact.

    ``keep_original``: the transcript as recognised is kept, encrypted, for the account's owners.
    ``muted_copy``: a copy of the recording is written that is silent where something was redacted.
    ``userdata``: the values in ``userdata`` of the CLOVA-compatible API are redacted too, before they are
    stored.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    keep_original: bool = True
    muted_copy: bool = False
    userdata: bool = False

    def __bool__(self) -> bool:
        return bool(self.kinds)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        kinds = document.get("kinds", {})
        return cls(
            kinds={kind: kinds[kind] for kind in KINDS if kinds.get(kind) in ACTIONS},
            keep_original=bool(document.get("keep_original", True)),
            muted_copy=bool(document.get("muted_copy", False)),
            userdata=bool(document.get("userdata", False)),
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "kinds": dict(self.kinds)}

    def at_least(self, other: RedactionSettings) -> RedactionSettings:
        """Union: these settings, extended by what ``other`` redacts in addition."""
        return RedactionSettings(
            kinds={**other.kinds, **self.kinds},
            keep_original=self.keep_original,
            muted_copy=self.muted_copy,
            userdata=self.userdata,
        )

    @property
    def summary(self) -> str:
        """Kinds with their actions, for people."""
        told = (f"{KINDS[kind]}: {ACTIONS[action]}" for kind, action in self.kinds.items())
        return ", ".join(told) or str(_("Off"))

    @staticmethod
    def described(name: str, value: Any) -> tuple[_StrOrPromise, _StrOrPromise] | None:
        """Label and formatted value for the audit trail; ``None`` for an unknown setting."""
        if name == "kinds":
            return _("redaction"), RedactionSettings.from_json({"kinds": value or {}}).summary
        labels = {
            "keep_original": _("keep the original"),
            "muted_copy": _("muted copy"),
            "userdata": _("userdata"),
        }
        return (labels[name], _("On") if value else _("Off")) if name in labels else None
