"""What members enter about a domain."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from domains.keywords import parse_keywords
from domains.models import Domain, Keyword


class DomainForm(forms.ModelForm[Domain]):
    keywords = forms.CharField(
        label=_("Keywords to boost"),
        required=False,
        help_text=_(
            "Names and terms that recognition should prefer: one a line, or separated by commas."
            " Up to 1,000, each of at most 100 characters."
        ),
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
    )

    class Meta:
        model = Domain
        fields = ["name", "code", "plan"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            texts = Keyword.objects.for_account(self.instance.account).filter(domain=self.instance)
            self.initial["keywords"] = "\n".join(texts.values_list("text", flat=True))

    def clean_keywords(self) -> list[str]:
        return parse_keywords(self.cleaned_data["keywords"])
