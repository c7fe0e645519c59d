"""`ExternalIdentity`: a user's identity (issuer and subject) at an OpenID provider."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ExternalIdentity(models.Model):
    """Identity of a user at an OpenID provider. The subject is stable when the e-mail address changes.

    ``account`` is set for an account's own provider, which is trusted for that account only.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="external_identities"
    )
    account = models.ForeignKey(
        "accounts.Account", on_delete=models.CASCADE, null=True, related_name="external_identities"
    )
    issuer = models.CharField(_("issuer"), max_length=500)
    subject = models.CharField(_("subject"), max_length=255)
    created_at = models.DateTimeField(_("since"), default=timezone.now)

    objects: ClassVar[models.Manager[ExternalIdentity]] = models.Manager()

    class Meta:
        verbose_name = _("external identity")
        verbose_name_plural = _("external identities")
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "subject"],
                condition=models.Q(account=None),
                name="external_identity_of_installation",
            ),
            models.UniqueConstraint(
                fields=["account", "issuer", "subject"], name="external_identity_of_account"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.issuer}: {self.subject}"
