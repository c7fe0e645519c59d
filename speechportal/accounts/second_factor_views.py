"""Setting up an authenticator app, and showing its code after the password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from speechportal.accounts import second_factor
from speechportal.accounts.models import AuthenticatorApp, User


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        help_text=_("The six digits that your authenticator app shows now."),
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def __init__(self, *args: Any, app: AuthenticatorApp, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = app

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])
        if not second_factor.verify(self.app, code):
            self.app.refresh_from_db()
            if wait := second_factor.seconds_to_wait(self.app):
                raise forms.ValidationError(
                    _("Too many wrong codes: wait %(seconds)d seconds, then enter the next code."),
                    code="wait",
                    params={"seconds": wait},
                )
            raise forms.ValidationError(
                _("This code is not right, or was used already. Enter the one that is shown now."),
                code="wrong",
            )
        return code


@sensitive_post_parameters("code")
@never_cache
@login_required
def show_code(request: HttpRequest) -> HttpResponse:
    """After the password: the app's code, or first the setting up of an app."""
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    app = second_factor.app_of(request.user.pk)
    setting_up = app is None
    app = app or second_factor.begin(request.user.pk)
    form = CodeForm(request.POST or None, app=app)
    if request.method == "POST" and form.is_valid():
        second_factor.pass_session(request, app)
        return redirect(_next(request))
    context: dict[str, Any] = {"form": form, "setting_up": setting_up, "next": _next(request)}
    if setting_up:
        context |= {"qr_code": app.qr_code(), "typed_secret": app.typed_secret()}
    return render(request, "accounts/second_factor.html", context)


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    sound = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if sound else reverse("home")
