"""Verification of a member's own e-mail address: a mailed link, confirmed by a button while signed in.

The link alone verifies nothing: mail scanners open links, and the owner of an address that somebody else has
registered might open it too. It therefore works only for the user who is signed in when it is opened.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from speechportal.accounts.access import signed_in_required
from speechportal.accounts.audit import trail
from speechportal.accounts.audit.trail import AuditEntry
from speechportal.accounts.models import User
from speechportal.platform import mail
from speechportal.platform.queue import enqueue

ASKED = "user.address_verification_asked"
VERIFIED = "user.address_verified"
SEND = "speechportal.accounts.sign_in.address_verification.send"
SALT = "speechportal.accounts.sign_in.address_verification"
MOST_AN_HOUR = 3
VALID_FOR = timedelta(days=3)


def ask(user: User) -> bool:
    """Queue a mail with a link; ``False`` if the limit per hour is reached."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)  # guards against concurrent clicks
        lately = AuditEntry.unscoped.filter(
            created_at__gt=timezone.now() - timedelta(hours=1),
            action=ASKED,
            target_kind=User._meta.label_lower,
            target_id=str(user.pk),
        )
        if lately.count() >= MOST_AN_HOUR:
            return False
        trail.record(ASKED, user)
        enqueue(SEND, user.pk)
    return True


def send(user_id: int) -> None:
    """Mail the verification link. Run by the queue."""
    user = User.objects.filter(pk=user_id, is_active=True, email_verified_at=None).first()
    if user is None:
        return
    link = settings.PUBLIC_URL + reverse("verify_address", args=[token_for(user)])
    with translation.override(user.language or settings.LANGUAGE_CODE):
        text = _(
            "Confirm that %(email)s is your e-mail address at Speech Portal:\n\n%(link)s\n\n"
            "The link works for %(days)d days, while you are signed in."
            " If you have no user there, do nothing."
        ) % {"email": user.email, "link": link, "days": VALID_FOR.days}
        mail.send(user.email, _("Verify your e-mail address for Speech Portal"), text)


def token_for(user: User) -> str:
    """Signed token of a user's present address."""
    return signing.dumps([user.pk, user.email], salt=SALT)


def is_of(token: str, user: User) -> bool:
    """Whether the token is valid for this user and their present address, and has not expired."""
    try:
        return bool(signing.loads(token, salt=SALT, max_age=VALID_FOR) == [user.pk, user.email])
    except signing.BadSignature:
        return False


def verify(user: User) -> None:
    """Mark the address as verified. Idempotent."""
    with transaction.atomic():
        now = timezone.now()
        if User.objects.filter(pk=user.pk, email_verified_at=None).update(email_verified_at=now):
            trail.record(VERIFIED, user)


@signed_in_required
@require_POST
def send_verification(request: HttpRequest) -> HttpResponse:
    """Send the mail again, a few times an hour."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - signed_in_required
    if user.email_verified_at is not None:
        messages.info(request, _("Your e-mail address is verified already."))
    elif not mail.is_set_up():
        messages.error(
            request, _("This portal sends no mail. Ask its support staff to confirm your address.")
        )
    elif ask(user):
        messages.success(request, _("A mail with a link is on its way to %s.") % user.email)
    else:
        messages.error(
            request, _("Several mails were sent within the last hour. Look for them, or try again later.")
        )
    return redirect("profile")


@never_cache
@signed_in_required
def verify_address(request: HttpRequest, token: str) -> HttpResponse:
    """Page of the mailed link, with the button that verifies the address."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - signed_in_required
    if not is_of(token, user):
        return render(request, "accounts/verify_address.html", {"is_valid": False}, status=404)
    if request.method == "POST":
        verify(user)
        messages.success(request, _("Your e-mail address is verified."))
        return redirect("profile")
    return render(request, "accounts/verify_address.html", {"is_valid": True})
