"""Secrets at rest, encrypted with keys of their own.

``ENCRYPTION_KEYS`` is a list of Fernet keys: the first encrypts, all decrypt, so that a key is retired by
putting a new one in front, running ``manage.py rotate_keys``, and taking the old one away. The
plaintext carries the account, the row and the field that it belongs to, so that a ciphertext that was
copied to another row is refused. Everything fails closed with :class:`EncryptionError`.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class EncryptionError(Exception):
    """A secret can be neither stored nor read. The message holds nothing secret."""


class NoEncryptionKey(EncryptionError):
    """``ENCRYPTION_KEYS`` is empty or holds something that is no Fernet key."""


class CannotDecrypt(EncryptionError):
    """No key fits, or the ciphertext was changed."""


class WrongOwner(EncryptionError):
    """The ciphertext is sound, but was made for another row or field."""


@dataclass(frozen=True)
class EncryptedCredentials:
    """Encrypts and decrypts one field of one row: ``account`` and ``row`` are uids, ``field`` a name."""

    account: str
    row: str
    field: str

    def __post_init__(self) -> None:
        if not (self.account and self.row and self.field):
            raise EncryptionError("A secret needs an account, a row and a field to belong to.")

    def encrypt(self, secret: str) -> str:
        plaintext = json.dumps([self.account, self.row, self.field, secret])
        return _fernet().encrypt(plaintext.encode()).decode()

    def decrypt(self, ciphertext: str) -> str:
        try:
            plaintext = _fernet().decrypt(ciphertext.encode())
        except InvalidToken as error:
            raise CannotDecrypt("No encryption key fits this secret.") from error
        try:
            *owner, secret = json.loads(plaintext)
        except ValueError as error:
            raise CannotDecrypt("This is not a secret of the portal.") from error
        expected = json.dumps([self.account, self.row, self.field])
        if not hmac.compare_digest(json.dumps(owner).encode(), expected.encode()):
            raise WrongOwner("This secret belongs to another row.")
        return str(secret)


def rotate(ciphertext: str) -> str:
    """The same secret, encrypted with the first key. Its owner is kept, and so checked later as before."""
    try:
        return _fernet().rotate(ciphertext.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt("No encryption key fits this secret.") from error


def _fernet() -> MultiFernet:
    keys: list[str] = list(settings.ENCRYPTION_KEYS)
    if not keys:
        raise NoEncryptionKey("ENCRYPTION_KEYS is empty.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise NoEncryptionKey("ENCRYPTION_KEYS holds something that is not a Fernet key.") from error
