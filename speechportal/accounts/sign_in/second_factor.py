"""Second factor: time-based one-time passwords (RFC 6238), mandatory for staff and optional for members.

The shared secret is stored encrypted and shown once. A code is accepted once: the time step of the last one
is stored, and only later ones are accepted. Wrong codes delay the next try, longer each time.
Whoever lost the app has recovery codes (:mod:`.recovery_codes`); without those it is
taken away by support staff, or on the machine with ``manage.py reset_two_factor``, never by an account's
owner: a person may work in other accounts, too.
"""

from __future__ import annotations

import base64
import secrets
import time
from datetime import timedelta
from typing import ClassVar

import segno
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from django.conf import settings
from django.db import models, transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.sign_in import notices, recovery_codes
from speechportal.encryption import EncryptedCredentials, rotate

SESSION_KEY = "second_factor"
DIGITS, STEP_SECONDS, SECRET_BYTES = 6, 30, 20
FREE_FAILURES = 3
LONGEST_WAIT = 600  # seconds
UNCONFIRMED = timedelta(minutes=10)  # how long a secret waits for its first code


class AuthenticatorApp(models.Model):
    """Authenticator app of a user. Without ``confirmed_at`` it is still being set up."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="authenticator"
    )
    encrypted_secret = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=0, editable=False)
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    wait_until = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    confirmed_at = models.DateTimeField(_("set up"), null=True, editable=False)

    objects: ClassVar[models.Manager[AuthenticatorApp]] = models.Manager()

    class Meta:
        verbose_name = _("authenticator app")
        verbose_name_plural = _("authenticator apps")

    def __str__(self) -> str:
        return str(self.user)

    @property
    def secret(self) -> bytes:
        return base64.b32decode(_credentials(self.user_id).decrypt(self.encrypted_secret))

    def provisioning_uri(self) -> str:
        """URI that the QR code encodes."""
        return _totp(self.secret).get_provisioning_uri(self.user.email, "Speech Portal")

    def typed_secret(self) -> str:
        """Secret in groups of four characters, to be typed instead of scanned."""
        text = base64.b32encode(self.secret).decode()
        return " ".join(text[start : start + 4] for start in range(0, len(text), 4))

    def qr_code(self) -> str:
        """QR code as an SVG element."""
        return segno.make(self.provisioning_uri(), micro=False).svg_inline(scale=5, dark="#000", light="#fff")


def app_of(user_id: int) -> AuthenticatorApp | None:
    """Return the user's confirmed app, if any."""
    return AuthenticatorApp.objects.filter(user=user_id, confirmed_at__isnull=False).first()


def forget_unconfirmed(user_id: int, *, older_than: timedelta = timedelta(0)) -> None:
    """Discard a secret that no code has confirmed: whoever saw it may not be its user."""
    begun = AuthenticatorApp.objects.filter(user=user_id, confirmed_at=None)
    begun.filter(created_at__lte=timezone.now() - older_than).delete()


def begin(user_id: int) -> AuthenticatorApp:
    """The app that is to be set up: the one begun within minutes, so that a scanned code goes on to fit."""
    forget_unconfirmed(user_id, older_than=UNCONFIRMED)
    secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
    app, _created = AuthenticatorApp.objects.get_or_create(
        user_id=user_id, defaults={"encrypted_secret": _credentials(user_id).encrypt(secret)}
    )
    return app


def verify(app: AuthenticatorApp, code: str) -> bool:
    """Whether ``code`` is the app's at this time (or one step earlier or later), for the first time, or a
    recovery code that is not used yet.

    The first right code completes the setting up. While wrong codes make it wait, nothing is right.
    """
    digits = "".join(code.split())
    with transaction.atomic():
        locked = AuthenticatorApp.objects.select_for_update().get(pk=app.pk)
        if seconds_to_wait(locked):
            return False
        step = _matching_step(locked, digits)
        if step is not None:
            if locked.confirmed_at is None:
                notices.send_later(locked.user_id, "two_factor_on")
            locked.last_step, locked.confirmed_at = step, locked.confirmed_at or timezone.now()
        elif not recovery_codes.use(locked, code):
            _note_failure(locked)
            return False
        locked.failures, locked.wait_until = 0, None
        locked.save()
    return True


def seconds_to_wait(app: AuthenticatorApp) -> int:
    left = (app.wait_until - timezone.now()).total_seconds() if app.wait_until else 0
    return max(0, int(left + 0.999))


def remove(user_id: int) -> bool:
    """Remove the app and its recovery codes. Staff set up another at the next sign-in."""
    was_on = app_of(user_id) is not None
    removed = bool(AuthenticatorApp.objects.filter(user=user_id).delete()[0])
    if was_on:
        notices.send_later(user_id, "two_factor_off")
    return removed


def pass_session(request: HttpRequest, app: AuthenticatorApp) -> None:
    """Mark the session as having passed the second factor."""
    request.session.cycle_key()
    request.session[SESSION_KEY] = app.pk


def is_passed(request: HttpRequest) -> bool:
    """Whether the session has passed the second factor, with the app that its user still has."""
    app = _app_of_sender(request)
    return app is not None and request.session.get(SESSION_KEY) == app.pk


def is_missing(request: HttpRequest) -> bool:
    """Whether the session has yet to pass the second factor, which staff and users with an app must."""
    user = request.user
    if not user.is_authenticated or is_passed(request):
        return False
    return _app_of_sender(request) is not None or bool(settings.STAFF_TWO_FACTOR and user.is_staff)


def _app_of_sender(request: HttpRequest) -> AuthenticatorApp | None:
    # It came with the user (backends.py).
    app: AuthenticatorApp | None = getattr(request.user, "authenticator", None)
    return app if app is not None and app.confirmed_at is not None else None


def _credentials(user_id: int) -> EncryptedCredentials:
    return EncryptedCredentials(account="staff", row=str(user_id), field="authenticator")


def _totp(secret: bytes) -> TOTP:
    # SHA-1 is what authenticator apps can do; as HMAC it is sound.
    return TOTP(secret, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - see above # nosec B303


def _matching_step(app: AuthenticatorApp, digits: str) -> int | None:
    if len(digits) != DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    now = int(time.time()) // STEP_SECONDS
    for step in (now - 1, now, now + 1):
        if step <= app.last_step:
            continue
        try:
            _totp(app.secret).verify(digits.encode(), step * STEP_SECONDS)
        except InvalidToken:
            continue
        return step
    return None


def _note_failure(app: AuthenticatorApp) -> None:
    app.failures = min(app.failures + 1, 1000)
    over = app.failures - FREE_FAILURES
    if over >= 0:
        app.wait_until = timezone.now() + timedelta(seconds=min(2 ** min(over, 10), LONGEST_WAIT))
    app.save(update_fields=["failures", "wait_until"])


def rotate_encryption() -> int:
    """Re-encrypt every secret with the first of ``ENCRYPTION_KEYS``; returns how many there are."""
    rotated = 0
    for app in AuthenticatorApp.objects.iterator(chunk_size=200):
        old = app.encrypted_secret
        rotated += AuthenticatorApp.objects.filter(pk=app.pk, encrypted_secret=old).update(
            encrypted_secret=rotate(old)
        )
    return rotated
