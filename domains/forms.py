"""Form of a domain."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from domains import offered_models
from domains.keywords import parse_keywords
from domains.models import KEYWORD_LENGTH, KEYWORD_LIMIT, Domain, Keyword
from speechportal.platform.versioned_forms import VersionedForm

FILE_BYTES = 1024 * 1024


class OfferedModelField(forms.ChoiceField):
    """Form field of a model that the operator offers; the default if it is left out."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)

    def clean(self, value: Any) -> str:
        return super().clean(value) or offered_models.DEFAULT


class DomainForm(VersionedForm, forms.ModelForm[Domain]):
    help_topics: ClassVar[dict[str, str]] = {
        "keywords": "models#what-keywords-do",
        "clova_result": "clova#results",
    }
    keyword_limit, keyword_length = KEYWORD_LIMIT, KEYWORD_LENGTH
    keywords = forms.CharField(
        label=_("Keywords to boost"),
        required=False,
        help_text=_(
            "Names and terms that recognition should prefer: one a line, or separated by commas."
            " Up to 1,000, each of at most 100 characters."
        ),
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
    )
    keyword_file = forms.FileField(
        label=_("Add keywords from a file"),
        required=False,
        help_text=_("A TXT or CSV file in UTF-8, at most 1 MB. Its keywords are added to those above."),
        widget=forms.FileInput(attrs={"accept": ".txt,.csv,text/plain,text/csv"}),
    )

    whisper_model = OfferedModelField(
        label=_("Whisper model"),
        choices=offered_models.domain_whisper_choices,
        help_text=_(
            "Turns speech into text. Files that were recognised with another model stay as they are."
        ),
    )
    speaker_model = OfferedModelField(
        label=_("Speaker model"),
        choices=offered_models.domain_speaker_choices,
        help_text=_("Tells apart who speaks."),
    )

    clova_result = forms.ChoiceField(
        label=_("CLOVA clients’ word for success"),
        choices=Domain.ClovaResult.choices,
        required=False,
        help_text=_("The “result” of a finished transcript in answers and callbacks of CLOVA’s API."),
    )

    class Meta:
        model = Domain
        fields = ["name", "code", "plan", "whisper_model", "speaker_model", "clova_result"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            texts = Keyword.objects.for_account(self.instance.account).filter(domain=self.instance)
            self.initial["keywords"] = "\n".join(texts.values_list("text", flat=True))

    def clean_clova_result(self) -> str:
        """Keep the present value if the form has no such field."""
        return self.cleaned_data["clova_result"] or self.instance.clova_result

    def clean_keywords(self) -> list[str]:
        return parse_keywords(self.cleaned_data["keywords"])

    def clean_keyword_file(self) -> list[str]:
        """Parse the file's keywords. Errors name the line, as for typed keywords."""
        file = self.cleaned_data["keyword_file"]
        if not file:
            return []
        if file.size > FILE_BYTES:
            raise forms.ValidationError(_("The file is larger than 1 MB."), code="too_large")
        try:
            text = file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise forms.ValidationError(_("The file is not in UTF-8."), code="not_utf8") from error
        return parse_keywords(text.replace('"', ""))

    def clean(self) -> dict[str, Any]:
        """Merge the file's keywords into ``keywords`` and drop ``keyword_file``.

        If ``keywords`` itself is unchanged, the file's are added to those that the domain has now.
        """
        cleaned = super().clean() or self.cleaned_data
        added = cleaned.pop("keyword_file", [])
        if added and "keywords" not in self.errors:
            own = cleaned.get("keywords", str(self.initial.get("keywords", "")).splitlines())
            try:
                cleaned["keywords"] = parse_keywords("\n".join([*own, *added]))
            except forms.ValidationError as error:
                self.add_error("keyword_file", error)
        return cleaned
