"""Pages of sign-in, sign-out, the switch of accounts and the member's profile."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from speechportal.accounts import addresses
from speechportal.accounts.access import signed_in_required
from speechportal.accounts.forms import LoginForm, ProfileForm
from speechportal.accounts.models import Membership, User
from speechportal.accounts.sign_in import fresh_password, passkeys, resubmission, sessions, throttling
from speechportal.accounts.single_sign_on import account_providers
from speechportal.accounts.single_sign_on import session as company_session
from speechportal.accounts.single_sign_on.configuration import provider
from speechportal.platform import mail


class SignIn(LoginView):
    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form that was sent before the session ended, if any; it survives a wrong password."""
        typed = self.request.POST.get(resubmission.FIELD, "")
        return super().get_context_data(
            typed=typed,
            company_sign_in=provider(),
            accounts_have_providers=account_providers.exist(),
            passkeys_possible=passkeys.is_possible(self.request),
            **kwargs,
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if throttling.is_refused(request):
            return throttling.refused(request)
        return super().post(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Show the form again, or the page about the wait if this failure began one."""
        if throttling.is_refused(self.request):
            return throttling.refused(self.request)
        return super().form_invalid(form)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        fresh_password.note(self.request)
        return resubmission.keep(self.request, self.request.POST.get(resubmission.FIELD, "")) or response


class ChangePassword(PasswordChangeView):
    template_name = "accounts/password.html"
    success_url = reverse_lazy("security")

    def form_valid(self, form: object) -> HttpResponse:
        response = super().form_valid(form)  # type: ignore[arg-type] # narrower type in the base class
        assert isinstance(self.request.user, User)  # noqa: S101 - the base class asks for a sign-in
        sessions.end(self.request.user.pk, but=self.request.session.session_key)
        messages.success(
            self.request, _("Your password was changed, and you were signed out everywhere else.")
        )
        return response


@signed_in_required
@require_POST
def switch_account(request: HttpRequest) -> HttpResponse:
    """Open another of the member's accounts; any other account is not found."""
    assert isinstance(request.user, User)  # noqa: S101 - signed_in_required
    own = Membership.objects.filter(user=request.user, account__uid=request.POST.get("account", ""))
    membership = get_object_or_404(company_session.opened(request, own.select_related("account")))
    messages.success(request, _("You now work in the account “%s”.") % membership.account.name)
    return redirect(addresses.path(membership.account.uid, "home"))


@signed_in_required
def profile(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101 - signed_in_required
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        user = form.instance
        user.save(update_fields=list(form.cleaned_data))
        messages.success(request, _("Your profile was saved."))
        response = redirect("profile")
        # The cookie of the language switch overrides the profile, so it is set to the same language.
        if user.language:
            response.set_cookie(settings.LANGUAGE_COOKIE_NAME, user.language, samesite="Lax")
        else:
            response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
        return response
    return render(request, "accounts/profile.html", {"form": form, "can_mail": mail.is_set_up()})
