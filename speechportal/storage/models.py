"""`Connection`: an object storage of an account."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal import encryption
from speechportal.accounts.models import Account
from speechportal.accounts.scoping import ScopedManager
from speechportal.accounts.uids import UidField
from speechportal.encryption import EncryptedCredentials, EncryptionError
from speechportal.storage import field_defaults, kinds
from speechportal.storage.backends.base import Finding, ObjectStore
from speechportal.storage.backends.kind import Owner, StorageKind
from speechportal.storage.errors import SecretUnreadable

SECRET_FIELD = "secrets"  # noqa: S105 - the name that its ciphertext is bound to


class Connection(models.Model):
    """Object storage of an account: the parameters that its kind declares, and its credentials."""

    # Values, and keys of JSON, that the activity list names otherwise than as they are stored.
    AUDIT_LABELS: ClassVar = {
        "provider": dict(kinds.choices()),
        "parameters": {name: each.label for name, each in kinds.PARAMETERS.items()},
    }

    uid = UidField("con")
    account = models.ForeignKey(
        Account, verbose_name=_("account"), on_delete=models.CASCADE, related_name="connections"
    )
    name = models.CharField(_("name"), max_length=100)
    provider = models.CharField(_("storage"), max_length=30)  # a name in ``kinds.KINDS``
    # Values of the kind's parameters except its secrets; validated by the kind.
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    encrypted_secret = models.TextField(blank=True, editable=False)  # JSON: secret parameter -> value
    place = models.CharField(_("place"), max_length=600, blank=True, editable=False)
    last_ok_at = models.DateTimeField(_("last found in order"), null=True, editable=False)
    last_error = models.TextField(_("last error"), blank=True, editable=False)
    # Part of the signed URL for notifications: a new nonce makes the old URL invalid.
    notification_nonce = models.CharField(
        _("address for notifications"),
        max_length=32,
        default=field_defaults.notification_nonce,
        editable=False,
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    unscoped = models.Manager()
    objects: ClassVar[ScopedManager[Self]] = ScopedManager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ["name", "pk"]
        default_manager_name = "unscoped"
        base_manager_name = "unscoped"
        constraints = [
            models.UniqueConstraint(
                "account",
                Lower("name"),
                name="connection_name_unique",
                violation_error_message=_("A connection with this name already exists."),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.place = self.kind.place(self.parameters)
        super().save(*args, **kwargs)

    @property
    def kind(self) -> StorageKind:
        return kinds.kind_of(self.provider)

    @property
    def owner(self) -> Owner:
        return Owner(self.account.uid, self.uid)

    def get_provider_display(self) -> str:
        return str(self.kind.label) if self.provider in kinds.KINDS else self.provider

    def set_secret(self, secret: str, name: str = "secret") -> None:
        """Set the value of a secret parameter, encrypted; an empty one removes it. Saved by ``save()``.

        A ciphertext that cannot be decrypted is replaced, so that entering the secrets again repairs it.
        """
        try:
            known = self.secrets()
        except SecretUnreadable:
            known = {}
        known.pop(name, None)
        if secret:
            known[name] = secret
        self.encrypted_secret = self._credentials().encrypt(json.dumps(known)) if known else ""

    def secrets(self) -> dict[str, str]:
        """Decrypt the secrets. Raises SecretUnreadable."""
        if not self.encrypted_secret:
            return {}
        try:
            found: dict[str, str] = json.loads(self._credentials().decrypt(self.encrypted_secret))
        except EncryptionError as error:
            raise SecretUnreadable from error
        return found

    def store(self) -> ObjectStore:
        """Open the storage; the only use of the credentials. Raises ``StorageError``.

        Sends no request yet.
        """
        return self.kind.open({**self.parameters, **self.secrets()}, self.owner)

    def note_check(self, findings: list[Finding]) -> None:
        """Store the result of a check."""
        self.last_error = next((finding.message for finding in findings if not finding.ok), "")
        if not self.last_error:
            self.last_ok_at = timezone.now()
        Connection.unscoped.filter(pk=self.pk).update(last_error=self.last_error, last_ok_at=self.last_ok_at)

    def clean_fields(self, exclude: Any = None) -> None:
        if self.provider in kinds.KINDS:
            names = {each.name for each in self.kind.parameters if not each.secret}
            known = {name: str(value) for name, value in self.parameters.items() if name in names}
            self.parameters = self.kind.normalise(known)
        super().clean_fields(exclude=exclude)

    def clean(self) -> None:
        super().clean()
        if self.provider not in kinds.KINDS:
            raise ValidationError({"provider": _("This kind of storage is not known here.")})

        def others() -> list[str]:
            of_others = Connection.unscoped.filter(provider=self.provider).exclude(account=self.account_id)
            return list(of_others.values_list("place", flat=True))

        self.parameters = self.kind.clean(self.parameters, self.owner, others)

    def _credentials(self) -> EncryptedCredentials:
        return EncryptedCredentials(account=self.account.uid, row=self.uid, field=SECRET_FIELD)


def rotate_secrets() -> int:
    """Re-encrypt every stored secret with the first of ``ENCRYPTION_KEYS``; returns how many there are.

    Raises :class:`EncryptionError` for the first that no key fits; those before it are done.
    """
    rotated = 0
    for connection in Connection.unscoped.exclude(encrypted_secret="").iterator(chunk_size=200):
        old = connection.encrypted_secret
        # Only if the secret was not changed meanwhile.
        rotated += Connection.unscoped.filter(pk=connection.pk, encrypted_secret=old).update(
            encrypted_secret=encryption.rotate(old)
        )
    return rotated
