"""Forms of sign-in and a member's profile."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from speechportal.accounts import time_zones
from speechportal.accounts.models import User
from speechportal.platform.versioned_forms import VersionedForm


class LoginForm(AuthenticationForm):
    """Django's sign-in form, labelled for an e-mail address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("E-mail address")
        self.fields["username"].widget = forms.EmailInput(
            attrs={"autofocus": True, "autocomplete": "username"}
        )

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": _("The e-mail address and the password do not match."),
    }


def order_name_fields(form: forms.BaseForm) -> None:
    """Put the family name before the given name where the page's language does."""
    if (get_language() or "").startswith("ko"):
        form.order_fields(["last_name", "first_name"])


class ProfileForm(VersionedForm, forms.ModelForm[User]):
    time_zone = forms.ChoiceField(label=_("Time zone"), required=False)

    class Meta:
        model = User
        fields = ["first_name", "last_name", "language", "time_zone"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        order_name_fields(self)
        language, zone = self.fields["language"], self.fields["time_zone"]
        assert isinstance(language, forms.TypedChoiceField)  # noqa: S101 - a model field with choices
        assert isinstance(zone, forms.ChoiceField)  # noqa: S101 - declared above
        language.choices = [("", _("The browser’s")), *settings.LANGUAGES]
        zone.choices = [("", _("The portal’s")), *time_zones.choices()]
