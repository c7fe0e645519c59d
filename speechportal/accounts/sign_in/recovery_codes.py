"""Recovery codes: one-time codes that replace a lost second factor.

A code has 80 random bits, too many to be guessed from its digest, so a plain digest is enough. The codes
belong to their user and are deleted with the last second factor.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from speechportal.accounts.audit import trail
from speechportal.accounts.sign_in import notices
from speechportal.accounts.uids import ALPHABET

if TYPE_CHECKING:
    from speechportal.accounts.models import User

COUNT, LETTERS, GROUP = 10, 16, 4
LOOK_ALIKES = str.maketrans({"o": "0", "i": "1", "l": "1", "-": "", " ": ""})  # as Crockford decodes them


class RecoveryCode(models.Model):
    """Unused recovery code; using it deletes the row.

    ``app`` is set in rows of the first release, whose codes belonged to an authenticator app.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        related_name="recovery_codes",
    )
    app = models.ForeignKey(
        "accounts.AuthenticatorApp",
        verbose_name=_("authenticator app"),
        on_delete=models.CASCADE,
        null=True,
        related_name="recovery_codes",
    )
    digest = models.CharField(max_length=64, editable=False)  # SHA-256, in hex

    objects: ClassVar[models.Manager[RecoveryCode]] = models.Manager()

    class Meta:
        verbose_name = _("recovery code")
        verbose_name_plural = _("recovery codes")
        constraints = [
            models.UniqueConstraint(fields=["app", "digest"], name="recovery_code_unique"),
            models.UniqueConstraint(fields=["user", "digest"], name="recovery_code_of_user_unique"),
        ]

    def __str__(self) -> str:
        return str(self.owner)

    @property
    def owner(self) -> User:
        found = self.user if self.app is None else self.app.user
        assert found is not None  # noqa: S101 - one of the two is set
        return found


def renew(user: User) -> list[str]:
    """Replace all codes of a user; returns the new ones in plain text, which is not stored."""
    plain = ["".join(secrets.choice(ALPHABET) for _ in range(LETTERS)) for _ in range(COUNT)]
    with transaction.atomic():
        of_user(user.pk).delete()
        RecoveryCode.objects.bulk_create(
            RecoveryCode(user=user, digest=_digest(f"user:{user.pk}", code)) for code in plain
        )
        trail.record("user.recovery_codes_made", user)
    return ["-".join(code[at : at + GROUP] for at in range(0, LETTERS, GROUP)) for code in plain]


def use(user: User, text: str) -> bool:
    """Use up a recovery code; ``False`` if ``text`` is not one of the user's codes."""
    code = text.strip().lower().translate(LOOK_ALIKES)
    if len(code) != LETTERS:
        return False
    with transaction.atomic():
        matching = Q(user=user, digest=_digest(f"user:{user.pk}", code))
        for app_id in of_user(user.pk).exclude(app=None).values_list("app", flat=True).distinct():
            matching |= Q(app=app_id, digest=_digest(str(app_id), code))
        if not RecoveryCode.objects.filter(matching).delete()[0]:
            return False
        remaining = left(user.pk)
        trail.record("user.recovery_code_used", user, changes={"recovery codes": [remaining + 1, remaining]})
        notices.send_later(user.pk, "recovery_code_used")
    return True


def of_user(user_id: int) -> models.QuerySet[RecoveryCode]:
    return RecoveryCode.objects.filter(Q(user=user_id) | Q(app__user=user_id))


def left(user_id: int) -> int:
    return of_user(user_id).count()


def _digest(owner: str, code: str) -> str:
    return hashlib.sha256(f"recovery:{owner}:{code}".encode()).hexdigest()
