"""Encryption of secrets at rest, with dedicated keys that can be rotated.

``ENCRYPTION_KEYS`` is a list of Fernet keys: the first encrypts, all decrypt. To retire a key, put a new one
in front, run ``manage.py rotate_keys``, and remove the old one. The plaintext contains the account, row and
field that it belongs to, so that a ciphertext copied to another row is refused. Everything fails closed with
:class:`EncryptionError`.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class EncryptionError(Exception):
    """A secret cannot be stored or read. The message contains nothing secret."""


class NoEncryptionKey(EncryptionError):
    """``ENCRYPTION_KEYS`` is empty or holds something that is no Fernet key."""


class CannotDecrypt(EncryptionError):
    """No key fits, or the ciphertext was changed."""


class WrongOwner(EncryptionError):
    """The ciphertext is valid, but was made for another row or field."""


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
    """Re-encrypt a ciphertext with the first key. Its owner stays the same."""
    try:
        return _fernet().rotate(ciphertext.encode()).decode()
    except InvalidToken as error:
        raise CannotDecrypt("No encryption key fits this secret.") from error


def is_readable(ciphertext: str) -> bool:
    """Whether one of the keys fits, whichever row the secret belongs to."""
    try:
        _fernet().decrypt(ciphertext.encode())
    except (EncryptionError, InvalidToken):
        return False
    return True


def _fernet() -> MultiFernet:
    keys: list[str] = list(settings.ENCRYPTION_KEYS)
    if not keys:
        raise NoEncryptionKey("ENCRYPTION_KEYS is empty.")
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise NoEncryptionKey("ENCRYPTION_KEYS holds something that is not a Fernet key.") from error
