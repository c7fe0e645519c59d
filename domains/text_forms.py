"""Form fields of a domain's text rules: replacements, forbidden words and redaction."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from domains.keywords import parse_keywords
from domains.models import Domain
from domains.redaction import ACTIONS, KINDS, OFF, RedactionSettings
from domains.replacements import Replacement, as_text, parse_replacements

FILE_BYTES = 1024 * 1024
ACTION_CHOICES = [(OFF, _("Off")), *ACTIONS.items()]


def decoded(file: Any) -> str:
    """Decode the text of an uploaded file. Raises ``ValidationError``."""
    if file.size > FILE_BYTES:
        raise forms.ValidationError(_("The file is larger than 1 MB."), code="too_large")
    try:
        text: str = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise forms.ValidationError(_("The file is not in UTF-8."), code="not_utf8") from error
    return text


class TextRulesFields(forms.BaseForm):
    """Mixin of a domain's form; its cleaned data contains ``replacements`` and ``redaction`` for services."""

    instance: Domain
    # Read by the metaclass of the forms that have this mixin.
    declared_fields = {
        "replacements": forms.CharField(
            label=_("Replacements"),
            required=False,
            help_text=_(
                "One a line: heard => written. A pattern stands between slashes:"
                " /order (\\d+)/ => order no. \\1. A line may begin with a language in brackets: [ko]."
            ),
            widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        ),
        "forbidden_words": forms.CharField(
            label=_("Forbidden words"),
            required=False,
            help_text=_("Words that no result shows: one a line, or separated by commas."),
            widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        ),
        "forbidden_action": forms.ChoiceField(
            label=_("Forbidden words are"), choices=Domain.ForbiddenAction.choices, required=False
        ),
        **{
            f"redact_{kind}": forms.ChoiceField(label=label, choices=ACTION_CHOICES, required=False)
            for kind, label in KINDS.items()
        },
        "keep_original": forms.BooleanField(
            label=_("Keep the original"),
            required=False,
            help_text=_(
                "The words as recognised are kept, encrypted. Owners can look at them; each look is recorded."
            ),
        ),
        "muted_copy": forms.BooleanField(
            label=_("Muted copy of the recording"),
            required=False,
            help_text=_("A copy is written beside the results that is silent where something was redacted."),
        ),
        "redact_userdata": forms.BooleanField(
            label=_("Redact userdata"),
            required=False,
            help_text=_(
                "What clients of the CLOVA entry send along as userdata is redacted, too, before it is"
                " stored."
            ),
        ),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        domain = self.instance
        self.initial.update(
            {
                "replacements": as_text(domain.replacements),
                "forbidden_words": "\n".join(domain.forbidden_words),
                "forbidden_action": domain.forbidden_action,
                "keep_original": domain.redaction.keep_original,
                "muted_copy": domain.redaction.muted_copy,
                "redact_userdata": domain.redaction.userdata,
                **{f"redact_{kind}": domain.redaction.kinds.get(kind, OFF) for kind in KINDS},
            }
        )

    def clean_replacements(self) -> list[Replacement]:
        try:
            return parse_replacements(self.cleaned_data["replacements"])
        except forms.ValidationError as error:
            raise forms.ValidationError(error.messages) from error

    def clean_forbidden_words(self) -> list[str]:
        return parse_keywords(self.cleaned_data["forbidden_words"])

    def clean_forbidden_action(self) -> str:
        return self.cleaned_data["forbidden_action"] or Domain.ForbiddenAction.MASK

    def clean(self) -> dict[str, Any]:
        """Build ``redaction`` from the submitted fields, and from the present settings for missing ones."""
        cleaned = super().clean() or self.cleaned_data
        present = self.instance.redaction
        kinds = {kind: cleaned.pop(f"redact_{kind}", present.kinds.get(kind, OFF)) for kind in KINDS}
        cleaned["redaction"] = RedactionSettings(
            kinds={kind: action for kind, action in kinds.items() if action},
            keep_original=bool(cleaned.pop("keep_original", present.keep_original)),
            muted_copy=bool(cleaned.pop("muted_copy", present.muted_copy)),
            userdata=bool(cleaned.pop("redact_userdata", present.userdata)),
        )
        return cleaned

    def redaction_fields(self) -> list[forms.BoundField]:
        return [self[f"redact_{kind}"] for kind in KINDS]
