"""Recovery codes: one-time codes that replace an authenticator app that was lost.

A code has 80 random bits, too many to be guessed from its digest, so a plain digest is enough. The codes
belong to one authenticator app and are deleted with it.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, ClassVar

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import trail
from speechportal.accounts.sign_in import notices
from speechportal.accounts.uids import ALPHABET

if TYPE_CHECKING:
    from speechportal.accounts.sign_in.second_factor import AuthenticatorApp

COUNT, LETTERS, GROUP = 10, 16, 4
LOOK_ALIKES = str.maketrans({"o": "0", "i": "1", "l": "1", "-": "", " ": ""})  # Crockford's reading


class RecoveryCode(models.Model):
    """Unused recovery code; using it deletes the row."""

    app = models.ForeignKey(
        "accounts.AuthenticatorApp", on_delete=models.CASCADE, related_name="recovery_codes"
    )
    digest = models.CharField(max_length=64, editable=False)  # SHA-256, in hex

    objects: ClassVar[models.Manager[RecoveryCode]] = models.Manager()

    class Meta:
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")
        constraints = [models.UniqueConstraint(fields=["app", "digest"], name="recovery_code_unique")]

    def __str__(self) -> str:
        return str(self.app)


def renew(app: AuthenticatorApp) -> list[str]:
    """Replace all codes of the app; returns the new ones in plain text, which is not stored."""
    plain = ["".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(COUNT)]
    with transaction.atomic():
        RecoveryCode.objects.filter(app=app).delete()
        RecoveryCode.objects.bulk_create(RecoveryCode(app=app, digest=_digest(app, code)) for code in plain)
        trail.record("user.recovery_codes_made", app.user)
    return ["-".join(code[at : at + GROUP] for at in range(0, LETTERS, GROUP)) for code in plain]


def use(app: AuthenticatorApp, text: str) -> bool:
    """Use up a recovery code; ``False`` if ``text`` is none of the app's codes."""
    code = text.strip().lower().translate(LOOK_ALIKES)
    if len(code) != LETTERS:
        return False
    with transaction.atomic():
        if not RecoveryCode.objects.filter(app=app, digest=_digest(app, code)).delete()[0]:
            return False
        trail.record(
            "user.recovery_code_used", app.user, changes={"recovery codes": [left(app) + 1, left(app)]}
        )
        notices.send_later(app.user_id, "recovery_code_used")
    return True


def left(app: AuthenticatorApp) -> int:
    return RecoveryCode.objects.filter(app=app).count()


def _digest(app: AuthenticatorApp, code: str) -> str:
    return hashlib.sha256(f"recovery:{app.pk}:{code}".encode()).hexdigest()
