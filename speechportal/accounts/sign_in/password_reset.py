"""Password reset: a mailed link that works once, for an hour.

Neither the page nor its response time reveals whether an address is known: the queue sends the mail.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import PasswordResetForm
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils import timezone, translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from speechportal.accounts.audit import trail
from speechportal.accounts.audit.trail import AuditEntry
from speechportal.accounts.email_addresses import normalised
from speechportal.accounts.models import User
from speechportal.accounts.sign_in import sessions, throttling
from speechportal.platform import mail
from speechportal.platform.queue import enqueue

ASKED = "user.password_reset_asked"
SEND = "speechportal.accounts.sign_in.password_reset.send"
SEND_TO = "speechportal.accounts.sign_in.password_reset.send_to"
MOST_AN_HOUR = 3


class AskForm(PasswordResetForm):
    """Django's form without the look-up, whose duration would reveal whether an address is known."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True}),
    )

    def save(self, *_args: Any, **_options: Any) -> None:
        """Queue the mail for any address; the look-up happens in the queue."""
        enqueue(SEND_TO, normalised(self.cleaned_data["email"]))


def ask(user: User) -> bool:
    """Queue a mail with a link; ``False`` if the limit per hour is reached."""
    lately = AuditEntry.unscoped.filter(
        created_at__gt=timezone.now() - timedelta(hours=1),
        action=ASKED,
        target_kind=User._meta.label_lower,
        target_id=str(user.pk),
    )
    if lately.count() >= MOST_AN_HOUR:
        return False
    with transaction.atomic():
        trail.record(ASKED, user)
        enqueue(SEND, user.pk)
    return True


def send_to(email: str) -> None:
    """Mail a link if the address belongs to an active user with a password. Run by the queue."""
    user = User.objects.filter(email=email, is_active=True).first()
    if user is not None and user.has_usable_password():
        ask(user)


def send(user_id: int) -> None:
    """Mail a link. Run by the queue."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        return
    token = default_token_generator.make_token(user)
    names = {"uidb64": urlsafe_base64_encode(force_bytes(user.pk)), "token": token}
    link = settings.PUBLIC_URL + reverse("password_reset_confirm", kwargs=names)
    with translation.override(user.language or settings.LANGUAGE_CODE):
        text = _(
            "Somebody, we hope you, asked for a new password for %(email)s. Choose it here:\n\n%(link)s\n\n"
            "The link works once, for %(minutes)d minutes. If it was not you, do nothing."
        ) % {"email": user.email, "link": link, "minutes": settings.PASSWORD_RESET_TIMEOUT // 60}
        mail.send(user.email, _("A new password for Speech Portal"), text)


class AskForPassword(PasswordResetView):
    template_name = "accounts/password_reset.html"
    form_class = AskForm
    success_url = reverse_lazy("login")
    extra_context = {"can_mail": mail.is_set_up}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not mail.is_set_up():
            return self.get(request, *args, **kwargs)  # This page shows the reason.
        if throttling.seconds_to_wait(request, ""):
            return throttling.refused(request)
        throttling.count_request(request)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        text = _("If %s is known here, a mail with a link is on its way to it.")
        messages.success(self.request, text % form.cleaned_data["email"])
        return response


class SetPassword(PasswordResetConfirmView):
    """Page of the link, which sets the password. Signing in still requires the second factor, if any."""

    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        assert isinstance(self.user, User)  # noqa: S101 - as above
        sessions.end(self.user.pk)
        throttling.forget(email=self.user.email)
        # The mailed link has verified the address.
        User.objects.filter(pk=self.user.pk).update(email_verified_at=timezone.now())
        messages.success(self.request, _("Your password was changed. Sign in with the new one."))
        return response
