"""Pages of a user's own security: second factor, recovery codes, list of passkeys, sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
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
    passkeys,
    recovery_codes,
    second_factor,
    sessions,
    throttling,
)
from speechportal.accounts.sign_in.second_factor_views import CodeForm, ask_for_password, check_password
from speechportal.accounts.single_sign_on import session as company_session


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
        if "password" in self.cleaned_data:  # Do not use up a one-time code in vain.
            self.check(code)
        return code


def own_user(request: HttpRequest) -> User:
    """Return the user; refuses sessions that were started by an account's own provider."""
    assert isinstance(request.user, User)  # noqa: S101 - every view here is behind login_required
    if company_session.scope(request):
        raise PermissionDenied(company_session.SCOPED)
    return request.user


@login_required
def security(request: HttpRequest) -> HttpResponse:
    user = own_user(request)
    app = second_factor.app_of(user.pk)
    own = request.session.session_key
    context = {
        "app": app,
        "passkeys": list(passkeys.of_user(user.pk)),
        "passkeys_possible": passkeys.is_possible(request),
        "codes_left": recovery_codes.left(user.pk),
        "sessions": [(row, row.pk == own) for row in sessions.of_user(user.pk)],
    }
    return render(request, "accounts/security.html", context)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def turn_on(request: HttpRequest) -> HttpResponse:
    """Turn on the second factor: scan the QR code, enter the first code; shows the recovery codes once."""
    user = own_user(request)
    if second_factor.app_of(user.pk) is not None:
        return redirect("security")
    if not fresh_password.is_fresh(request):
        return ask_for_password(request)
    app = second_factor.begin(user.pk)
    form = PasswordAndCodeForm(request.POST or None, app=app, request=request)
    if request.method == "POST" and form.is_valid():
        second_factor.pass_session(request, app)
        return show_codes(request, recovery_codes.renew(user), turned_on=True)
    context = {"form": form, "qr_code": app.qr_code(), "typed_secret": app.typed_secret()}
    return render(request, "accounts/two_factor_on.html", context)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def turn_off(request: HttpRequest) -> HttpResponse:
    user = own_user(request)

    def remove(_app: AuthenticatorApp) -> HttpResponse:
        second_factor.remove_app(user.pk)
        if passkeys.of_user(user.pk).exists():
            second_factor.pass_session(request, None)
            messages.success(request, _("The authenticator app was removed. Your passkeys stay."))
        else:
            messages.success(request, _("Two-factor sign-in is off: your password alone signs you in."))
        return redirect("security")

    return _confirm(request, "accounts/two_factor_off.html", remove)


@sensitive_post_parameters("password", "code")
@never_cache
@login_required
def new_recovery_codes(request: HttpRequest) -> HttpResponse:
    """Replace the recovery codes: after password and code; with passkeys alone, after the password."""
    user = own_user(request)

    def renew(_app: AuthenticatorApp | None) -> HttpResponse:
        codes = recovery_codes.renew(user)
        notices.send_later(user.pk, "recovery_codes_made")
        return show_codes(request, codes, turned_on=False)

    if second_factor.app_of(user.pk) is not None or not passkeys.of_user(user.pk).exists():
        return _confirm(request, "accounts/recovery_codes_new.html", renew)
    if not fresh_password.is_fresh(request):
        return ask_for_password(request)
    if request.method == "POST" and "sure" in request.POST:
        return renew(None)
    return render(request, "accounts/recovery_codes_new.html", {"form": None})


def _confirm(
    request: HttpRequest, template: str, act: Callable[[AuthenticatorApp], HttpResponse]
) -> HttpResponse:
    """Ask for password and code, then call ``act``."""
    app = second_factor.app_of(own_user(request).pk)
    if app is None:
        return redirect("security")
    if throttling.is_refused(request):
        return throttling.refused(request)
    form = PasswordAndCodeForm(request.POST or None, app=app, request=request)
    if request.method == "POST" and form.is_valid():
        return act(app)
    return render(request, template, {"form": form})


def show_codes(request: HttpRequest, codes: list[str], *, turned_on: bool) -> HttpResponse:
    context: dict[str, Any] = {"codes": codes, "text": "\n".join(codes), "turned_on": turned_on}
    return render(request, "accounts/recovery_codes.html", context)


@login_required
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the session ``session=<handle>``; without it, all but the current one."""
    user, own = own_user(request), request.session.session_key
    ended = sessions.end(user.pk, handle=request.POST.get("session", ""), but=own)
    if ended:
        trail.record("user.sessions_ended", user, changes={"sessions": [None, ended]})
    text = ngettext("You were signed out of %d browser.", "You were signed out of %d browsers.", ended)
    messages.success(request, text % ended)
    return redirect("security")
