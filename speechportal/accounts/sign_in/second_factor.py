"""Second factor: one-time passwords (RFC 6238) or passkeys.

Mandatory for staff and for members of accounts that require it.

The shared secret of an authenticator app is stored encrypted and shown once. A code is accepted once: the
time step of the last one is stored, and only later ones are accepted. Wrong codes delay the next try, longer
each time.
A user who has lost the app or the passkey has recovery codes (:mod:`.recovery_codes`). Without those, support
staff or ``manage.py reset_two_factor`` remove the second factor; an account's owner cannot, since the user
may belong to other accounts too.
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

from speechportal.accounts.sign_in import notices, passkeys, recovery_codes, sessions
from speechportal.accounts.sign_in.passkeys import Passkey
from speechportal.encryption import EncryptedCredentials, rotate

SESSION_KEY = "second_factor"
PASSKEY = "passkey"  # session value: passed by a passkey, or by a recovery code in its place
DIGITS, STEP_SECONDS, SECRET_BYTES = 6, 30, 20
FREE_FAILURES = 3
LONGEST_WAIT = 600  # seconds
UNCONFIRMED = timedelta(minutes=10)  # lifetime of a secret without its first code


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


def is_set_up(user_id: int) -> bool:
    """Whether the user has a second factor: a confirmed app or a passkey."""
    return app_of(user_id) is not None or passkeys.of_user(user_id).exists()


def forget_unconfirmed(user_id: int, *, older_than: timedelta = timedelta(0)) -> None:
    """Discard a secret that no code has confirmed: somebody other than the user may have seen it."""
    begun = AuthenticatorApp.objects.filter(user=user_id, confirmed_at=None)
    begun.filter(created_at__lte=timezone.now() - older_than).delete()


def begin(user_id: int) -> AuthenticatorApp:
    """Begin to set up an app, or continue within minutes, so that a scanned secret stays valid."""
    forget_unconfirmed(user_id, older_than=UNCONFIRMED)
    secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()
    app, _created = AuthenticatorApp.objects.get_or_create(
        user_id=user_id, defaults={"encrypted_secret": _credentials(user_id).encrypt(secret)}
    )
    return app


def verify(app: AuthenticatorApp, code: str) -> bool:
    """Verify a one-time password, or an unused recovery code.

    A one-time password is accepted once, with a tolerance of one time step. The first correct one completes
    the set-up. While wrong codes impose a wait, every code is refused.
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
        elif not recovery_codes.use(locked.user, code):
            _note_failure(locked)
            return False
        locked.failures, locked.wait_until = 0, None
        locked.save()
    return True


def seconds_to_wait(app: AuthenticatorApp) -> int:
    left = (app.wait_until - timezone.now()).total_seconds() if app.wait_until else 0
    return max(0, int(left + 0.999))


def remove_app(user_id: int) -> bool:
    """Remove the app; the recovery codes too, if it was the last second factor."""
    was_on = app_of(user_id) is not None
    with transaction.atomic():
        removed = bool(AuthenticatorApp.objects.filter(user=user_id).delete()[0])
        if was_on:
            _forget_codes_of_none(user_id)
            notices.send_later(user_id, "app_removed" if is_set_up(user_id) else "two_factor_off")
    return removed


def remove_passkey(passkey: Passkey, *, but_session: str | None) -> None:
    """Remove a passkey, and end the user's sessions except ``but_session``: it may have opened them."""
    with transaction.atomic():
        passkey.delete()
        _forget_codes_of_none(passkey.user_id)
        sessions.end(passkey.user_id, but=but_session)
        notices.send_later(passkey.user_id, "passkey_removed")


def remove_all(user_id: int) -> bool:
    """Remove app, passkeys and recovery codes. Staff set up another factor at the next sign-in."""
    removed = False
    with transaction.atomic():
        for passkey in passkeys.of_user(user_id):
            passkey.delete()  # one by one, so that the audit trail has them
            removed = True
        had_passkeys, removed = removed, remove_app(user_id) or removed
        _forget_codes_of_none(user_id)
        if had_passkeys:
            notices.send_later(user_id, "passkey_removed")
    return removed


def _forget_codes_of_none(user_id: int) -> None:
    if not is_set_up(user_id):
        recovery_codes.of_user(user_id).delete()


def pass_session(request: HttpRequest, app: AuthenticatorApp | None) -> None:
    """Mark the session as having passed the second factor, by an app or (``None``) by a passkey."""
    request.session.cycle_key()
    request.session[SESSION_KEY] = PASSKEY if app is None else app.pk


def is_passed(request: HttpRequest) -> bool:
    """Whether the session has passed the second factor, of a kind that its user still has."""
    mark = request.session.get(SESSION_KEY)
    if mark == PASSKEY:
        return has_passkeys(request.user)
    app = _app_of_sender(request)
    return app is not None and mark == app.pk


def is_missing(request: HttpRequest) -> bool:
    """Whether the session has not passed the second factor yet, which staff and users with one must."""
    user = request.user
    if not user.is_authenticated or is_passed(request):
        return False
    return is_set_up_by_sender(request) or bool(settings.STAFF_TWO_FACTOR and user.is_staff)


def is_set_up_by_sender(request: HttpRequest) -> bool:
    """Like :func:`is_set_up`, without a query for a user that the session's backend has loaded."""
    return _app_of_sender(request) is not None or has_passkeys(request.user)


def has_passkeys(user: object) -> bool:
    # Loaded with the user (backends.py), except in the request that signs in.
    known: bool | None = getattr(user, "owns_passkeys", None)
    return passkeys.of_user(getattr(user, "pk", 0)).exists() if known is None else known


def _app_of_sender(request: HttpRequest) -> AuthenticatorApp | None:
    # Likewise.
    app: AuthenticatorApp | None = getattr(request.user, "authenticator", None)
    return app if app is not None and app.confirmed_at is not None else None


def _credentials(user_id: int) -> EncryptedCredentials:
    return EncryptedCredentials(account="staff", row=str(user_id), field="authenticator")


def _totp(secret: bytes) -> TOTP:
    # Authenticator apps support only SHA-1; it is secure as an HMAC.
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
