"""Pages of passkeys: sign in, add, rename and remove."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from speechportal.accounts.audit import trail
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import (
    fresh_password,
    passkeys,
    recovery_codes,
    resubmission,
    second_factor,
    throttling,
)
from speechportal.accounts.sign_in.backends import MEMBER_BACKEND
from speechportal.accounts.sign_in.passkeys import Passkey, PasskeyError
from speechportal.accounts.sign_in.second_factor_views import ask_for_password, next_page
from speechportal.accounts.sign_in.security_views import own_user, show_codes


class PasskeyForm(forms.ModelForm[Passkey]):
    class Meta:
        model = Passkey
        fields = ["name"]

    credential = forms.CharField(
        required=False, max_length=passkeys.LONGEST_RESPONSE, widget=forms.HiddenInput
    )

    def clean_credential(self) -> str:
        if not self.cleaned_data["credential"]:
            raise forms.ValidationError(_("Your browser sent no passkey. Try again."), code="missing")
        return str(self.cleaned_data["credential"])


class NameForm(forms.ModelForm[Passkey]):
    class Meta:
        model = Passkey
        fields = ["name"]


def _who_gave_password(request: HttpRequest) -> int | None:
    """ID of the user who has entered their password; ``None`` at a sign-in by passkey alone."""
    return request.user.pk if isinstance(request.user, User) else None


@never_cache
@require_POST
def options(request: HttpRequest) -> HttpResponse:
    """Options of an authentication (WebAuthn), as JSON."""
    if not passkeys.is_possible(request):
        return JsonResponse({"error": str(passkeys.PasskeyError.sentence)}, status=400)
    if throttling.is_refused(request):
        return JsonResponse({"error": _("Too many wrong tries: wait a few minutes.")}, status=429)
    return JsonResponse(passkeys.authentication_options(request, _who_gave_password(request)))


@sensitive_post_parameters("credential")
@never_cache
@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in with a passkey alone, or pass the second factor with one."""
    response, user_id = request.POST.get("credential", ""), _who_gave_password(request)
    passkey = passkeys.claimed(response)
    email = passkey.user.email if passkey else ""
    if throttling.seconds_to_wait(request, email) or throttling.is_refused(request):
        return throttling.refused(request)
    if passkey is None or not passkey.user.is_active:
        return _refused(request, PasskeyError("unknown"), email)
    try:
        passkeys.authenticate(request, passkey, user_id, response)
    except PasskeyError as error:
        return _refused(request, error, email)
    if user_id is None:
        login(request, passkey.user, backend=MEMBER_BACKEND)
        fresh_password.note(request)
        trail.record("user.passkey_sign_in", passkey.user)
    second_factor.pass_session(request, None)
    throttling.signed_in(request, email)
    return resubmission.keep(request, request.POST.get(resubmission.FIELD, "")) or redirect(
        next_page(request)
    )


def _refused(request: HttpRequest, error: PasskeyError, email: str) -> HttpResponse:
    """Count the failure, for the passkey's user or else for the network, and show the page again."""
    if email:
        throttling.count_failure(request, email)
    else:
        throttling.count_request(request)
    messages.error(request, error.sentence)
    return redirect("second_factor" if request.user.is_authenticated else "login")


def _may_not_add(request: HttpRequest) -> bool:
    """Whether the user has a second factor that the session has not passed yet."""
    return second_factor.is_set_up_by_sender(request) and second_factor.is_missing(request)


@never_cache
@login_required
@require_POST
def add_options(request: HttpRequest) -> HttpResponse:
    """Options of a registration (WebAuthn), as JSON."""
    user = own_user(request)
    if _may_not_add(request) or not fresh_password.is_fresh(request) or not passkeys.is_possible(request):
        return JsonResponse({"error": _("Open this page again, and enter your password.")}, status=403)
    return JsonResponse(passkeys.registration_options(request, user.pk, user.email, user.get_full_name()))


@sensitive_post_parameters("credential", "password")
@never_cache
@login_required
def add(request: HttpRequest) -> HttpResponse:
    """Add a passkey; a user's first second factor also creates recovery codes."""
    user = own_user(request)
    if _may_not_add(request):
        return redirect("second_factor")
    if not passkeys.is_possible(request):
        messages.error(request, _("Passkeys need HTTPS and a host name. Ask your operator for that address."))
        return redirect("security")
    if not fresh_password.is_fresh(request):
        return ask_for_password(request)
    form = PasskeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            passkeys.register(request, user.pk, form.cleaned_data["name"], form.cleaned_data["credential"])
        except PasskeyError as error:
            form.add_error(None, str(error.sentence))
        else:
            second_factor.pass_session(request, None)
            if not recovery_codes.left(user.pk):
                return show_codes(request, recovery_codes.renew(user), turned_on=True)
            messages.success(request, _("The passkey was added."))
            return redirect(next_page(request, "security"))
    return render(
        request, "accounts/passkey_add.html", {"form": form, "next": next_page(request, "security")}
    )


@login_required
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    passkey = get_object_or_404(passkeys.of_user(own_user(request).pk), pk=pk)
    form = NameForm(request.POST or None, instance=passkey)
    if request.method == "POST" and form.is_valid():
        form.instance.save(update_fields=["name"])
        messages.success(request, _("The passkey was renamed."))
        return redirect("security")
    return render(request, "accounts/passkey_rename.html", {"form": form})


@sensitive_post_parameters("password")
@never_cache
@login_required
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a passkey, after a confirmation and a recently entered password."""
    user = own_user(request)
    passkey = get_object_or_404(passkeys.of_user(user.pk), pk=pk)
    if not fresh_password.is_fresh(request):
        return ask_for_password(request)
    if request.method == "POST" and "sure" in request.POST:
        second_factor.remove_passkey(passkey, but_session=request.session.session_key)
        app = second_factor.app_of(user.pk)
        second_factor.pass_session(request, app)  # it may have passed with the removed passkey
        messages.success(request, _("The passkey was removed, and you were signed out everywhere else."))
        return redirect("security")
    context: dict[str, Any] = {"passkey": passkey, "is_last": not _has_another_factor(user, passkey)}
    return render(request, "accounts/passkey_remove.html", context)


def _has_another_factor(user: User, passkey: Passkey) -> bool:
    others = passkeys.of_user(user.pk).exclude(pk=passkey.pk)
    return others.exists() or second_factor.app_of(user.pk) is not None
