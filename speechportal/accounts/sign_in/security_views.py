"""Pages of a user's own security: second factor, recovery codes and sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from speechportal.accounts.audit import trail
from speechportal.accounts.models import AuthenticatorApp, User
from speechportal.accounts.sign_in import (
    fresh_password,
    notices,
    recovery_codes,
    second_factor,
    sessions,
    throttling,
)
from speechportal.accounts.sign_in.second_factor_views import CodeForm, ask_for_password, check_password


class PasswordAndCodeForm(CodeForm):
    """Form that asks for password and code again before a change of the sign-in."""

    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    field_order = ("password", "code")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].widget.attrs["autofocus"] = True
        del self.fields["code"].widget.attrs["autofocus"]

    def clean_password(self) -> str:
        password = str(self.cleaned_data["password"])
        check_password(self.request, password)
        return password

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])
        if "password" in self.cleaned_data:  # A code counts once: not for nothing.
            self.check(code)
        return code


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101 - every view here is behind login_required
    return request.user


@login_required
def security(request: HttpRequest) -> HttpResponse:
    user = _user(request)
    app = second_factor.app_of(user.pk)
    own = request.session.session_key
    context = {
        "app": app,
        "codes_left": recovery_codes.left(app) if app else 0,
        "sessions": [(row, row.pk == own) for row in sessions.of_user(user.pk)],
    }
    return render(request, "accounts/security.html", context)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def turn_on(request: HttpRequest) -> HttpResponse:
    """Turn on the second factor: scan, enter the first code; shows the recovery codes once."""
    user = _user(request)
    if second_factor.app_of(user.pk) is not None:
        return redirect("security")
    if not fresh_password.is_fresh(request):
        return ask_for_password(request)
    app = second_factor.begin(user.pk)
    form = PasswordAndCodeForm(request.POST or None, app=app, request=request)
    if request.method == "POST" and form.is_valid():
        second_factor.pass_session(request, app)
        return _show_codes(request, recovery_codes.renew(app), turned_on=True)
    context = {"form": form, "qr_code": app.qr_code(), "typed_secret": app.typed_secret()}
    return render(request, "accounts/two_factor_on.html", context)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def turn_off(request: HttpRequest) -> HttpResponse:
    user = _user(request)

    def remove(_app: AuthenticatorApp) -> HttpResponse:
        second_factor.remove(user.pk)
        messages.success(request, _("Two-factor sign-in is off: your password alone signs you in."))
        return redirect("security")

    return _confirm(request, "accounts/two_factor_off.html", remove)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Replace the recovery codes."""

    def renew(app: AuthenticatorApp) -> HttpResponse:
        codes = recovery_codes.renew(app)
        notices.send_later(app.user_id, "recovery_codes_made")
        return _show_codes(request, codes, turned_on=False)

    return _confirm(request, "accounts/recovery_codes_new.html", renew)


def _confirm(
    request: HttpRequest, template: str, act: Callable[[AuthenticatorApp], HttpResponse]
) -> HttpResponse:
    """Ask for password and code, then call ``act``."""
    app = second_factor.app_of(_user(request).pk)
    if app is None:
        return redirect("security")
    if throttling.is_refused(request):
        return throttling.refused(request)
    form = PasswordAndCodeForm(request.POST or None, app=app, request=request)
    if request.method == "POST" and form.is_valid():
        return act(app)
    return render(request, template, {"form": form})


def _show_codes(request: HttpRequest, codes: list[str], *, turned_on: bool) -> HttpResponse:
    context: dict[str, Any] = {"codes": codes, "text": "\n".join(codes), "turned_on": turned_on}
    return render(request, "accounts/recovery_codes.html", context)


@login_required
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the session ``session=<handle>``; without it, all but the present one."""
    user, own = _user(request), request.session.session_key
    ended = sessions.end(user.pk, handle=request.POST.get("session", ""), but=own)
    if ended:
        trail.record("user.sessions_ended", user, changes={"sessions": [None, ended]})
    text = ngettext("You were signed out of %d browser.", "You were signed out of %d browsers.", ended)
    messages.success(request, text % ended)
    return redirect("security")
