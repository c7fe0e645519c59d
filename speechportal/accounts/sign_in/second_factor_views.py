"""Pages of the second factor at sign-in: enter a code, use a passkey, or (staff) set one up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from speechportal.accounts.models import AuthenticatorApp, User
from speechportal.accounts.sign_in import fresh_password, passkeys, recovery_codes, second_factor, throttling


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=24,
        help_text=_("The six digits that your authenticator app shows now."),
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def __init__(self, *args: Any, app: AuthenticatorApp | None, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app, self.request = app, request  # without an app only recovery codes are accepted

    def ask_for_recovery_code(self) -> None:
        field = self.fields["code"]
        field.label = _("Recovery code")
        field.help_text = _("One of those that you were given when you set up the app. Each works once.")
        field.widget.attrs.update(inputmode="text", autocomplete="off", spellcheck="false")

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])
        self.check(code)
        return code

    def check(self, code: str) -> None:
        self._refuse_while_waiting()
        if not self._is_right(code):
            throttling.count_failure(self.request)
            self._refuse_while_waiting()
            raise forms.ValidationError(
                _("This code is not right, or was used already. Enter the one that is shown now."),
                code="wrong",
            )

    def _is_right(self, code: str) -> bool:
        if self.app is not None:
            return second_factor.verify(self.app, code)
        assert isinstance(self.request.user, User)  # noqa: S101 - the views need a sign-in
        return recovery_codes.use(self.request.user, code)

    def _refuse_while_waiting(self) -> None:
        if self.app is None:
            return
        self.app.refresh_from_db()
        if wait := second_factor.seconds_to_wait(self.app):
            raise forms.ValidationError(
                ngettext_lazy(
                    "Too many wrong codes: wait %(seconds)d second, then enter the next code.",
                    "Too many wrong codes: wait %(seconds)d seconds, then enter the next code.",
                    "seconds",
                ),
                code="wait",
                params={"seconds": wait},
            )


class PasswordForm(forms.Form):
    """Form that asks the signed-in user for their password again."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        check_password(self.request, password)
        return password


def check_password(request: HttpRequest, password: str) -> None:
    """Raise ``ValidationError`` unless the password is the user's; throttled like the sign-in."""
    email = getattr(request.user, "email", "")
    if authenticate(request, username=email, password=password) != request.user:
        raise forms.ValidationError(_("This is not your password."), code="wrong_password")


def ask_for_password(request: HttpRequest) -> HttpResponse:
    """Page that asks for the password before a page with a secret is shown."""
    if throttling.is_refused(request):
        return throttling.refused(request)
    form = PasswordForm(request.POST or None, request=request)
    if request.method == "POST" and form.is_valid():
        fresh_password.note(request)
        return redirect(request.get_full_path())
    if request.method == "POST" and throttling.is_refused(request):
        return throttling.refused(request)
    return render(request, "accounts/password_again.html", {"form": form, "next": next_page(request)})


@sensitive_post_parameters("code", "password")
@never_cache
@login_required
def show_code(request: HttpRequest) -> HttpResponse:
    """Ask for the app's code after the password or, with ``?recovery=1``, for a recovery code.

    Staff without an app set one up here; members without one are redirected.
    """
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    if throttling.is_refused(request):
        return throttling.refused(request)
    app, has_passkeys = second_factor.app_of(request.user.pk), second_factor.has_passkeys(request.user)
    setting_up = app is None and not has_passkeys
    if setting_up and not second_factor.is_missing(request):
        return redirect("security")
    if setting_up and not fresh_password.is_fresh(request):
        return ask_for_password(request)
    if setting_up:
        app = second_factor.begin(request.user.pk)
    form = CodeForm(request.POST or None, app=app, request=request)
    recovering = not setting_up and "recovery" in request.GET
    if recovering or app is None:
        form.ask_for_recovery_code()
    if request.method == "POST" and form.is_valid():
        second_factor.pass_session(request, app)
        throttling.signed_in(request, request.user.email)
        return redirect(next_page(request))
    if request.method == "POST" and throttling.is_refused(request):
        return throttling.refused(request)
    context: dict[str, Any] = {
        "form": form,
        "setting_up": setting_up,
        "recovering": recovering,
        "app": app,
        "has_passkeys": has_passkeys and passkeys.is_possible(request),
        "passkeys_possible": passkeys.is_possible(request),
        "next": next_page(request),
    }
    if setting_up and app is not None:
        context |= {"qr_code": app.qr_code(), "typed_secret": app.typed_secret()}
    return render(request, "accounts/second_factor.html", context)


def next_page(request: HttpRequest, otherwise: str = "home") -> str:
    """Path in ``next`` if it is one of the portal; else that of the view named ``otherwise``."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    sound = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if sound else reverse(otherwise)
