"""Forms for deliveries."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class RedeliverForm(forms.Form):
    since = forms.DateTimeField(
        label=_("Made since"),
        help_text=_("In your time zone."),
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    only_failed = forms.BooleanField(
        label=_("Only those that failed or were cancelled"), required=False, initial=True
    )
