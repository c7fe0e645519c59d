"""Pages of sign-in, sign-out, the switch of accounts and the member's profile."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from speechportal.accounts.access import SESSION_KEY
from speechportal.accounts.forms import LoginForm, ProfileForm
from speechportal.accounts.models import Membership, User
from speechportal.accounts.sign_in import sessions


class SignIn(LoginView):
    template_name = "accounts/login.html"
    authentication_form = LoginForm
    redirect_authenticated_user = True


class ChangePassword(PasswordChangeView):
    template_name = "accounts/password.html"
    success_url = reverse_lazy("security")

    def form_valid(self, form: object) -> HttpResponse:
        response = super().form_valid(form)  # type: ignore[arg-type] # the base class has typed it narrower
        assert isinstance(self.request.user, User)  # noqa: S101 - the base class asks for a sign-in
        sessions.end(self.request.user.pk, but=self.request.session.session_key)
        messages.success(
            self.request, _("Your password was changed, and you were signed out everywhere else.")
        )
        return response


@login_required
@require_POST
def switch_account(request: HttpRequest) -> HttpResponse:
    """Switch the session to another of the member's accounts; 404 for any other account."""
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    own = Membership.objects.filter(user=request.user, account__uid=request.POST.get("account", ""))
    membership = get_object_or_404(own.select_related("account"))
    request.session[SESSION_KEY] = membership.account.uid
    messages.success(request, _("You now work in the account “%s”.") % membership.account.name)
    return redirect("home")


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)  # noqa: S101 - login_required
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        messages.success(request, _("Your profile was saved."))
        response = redirect("profile")
        # The cookie of the language switch goes before the profile: let it say the same.
        if user.language:
            response.set_cookie(settings.LANGUAGE_COOKIE_NAME, user.language, samesite="Lax")
        else:
            response.delete_cookie(settings.LANGUAGE_COOKIE_NAME)
        return response
    return render(request, "accounts/profile.html", {"form": form})
