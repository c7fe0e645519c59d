"""Encrypted streams: AES-256-GCM in chunks, with a key that scrypt derives from a passphrase.

::

    magic (8 bytes) | salt (16 bytes) | chunk | chunk | ... | last chunk

A chunk is up to 64 KiB of plaintext, encrypted, with its tag of 16 bytes. Its nonce is its number and whether
it is the last, so that chunks can be neither changed, exchanged, repeated nor cut off without notice.

Source: V. T. Hoang, R. Reyhanitabar, P. Rogaway, D. Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance" (2015), the construction STREAM.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import BinaryIO, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"SPBACK1\n"
_SALT, _TAG, _CHUNK = 16, 16, 1 << 16
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}  # 32 MB of memory per attempt


class BackupUnreadable(Exception):
    """Raised when the file is not a backup, is damaged, or was encrypted with another passphrase."""


class EncryptingWriter:
    """File object that encrypts what is written. ``file`` is complete after :meth:`close`, and stays open."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(_SALT)
        self._file, self._head = file, MAGIC + salt
        self._cipher = _cipher(passphrase, salt)
        self._waiting = bytearray()
        self._number = 0
        file.write(self._head)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > _CHUNK:
            self._write_chunk(_CHUNK, last=False)
        return len(data)

    def close(self) -> None:
        self._write_chunk(len(self._waiting), last=True)

    def _write_chunk(self, size: int, *, last: bool) -> None:
        chunk = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), chunk, self._head))
        self._number += 1


class DecryptingReader:
    """File object that decrypts the output of :class:`EncryptingWriter`.

    ``read`` raises BackupUnreadable for anything else. Returned data is authenticated; that the stream is
    complete is certain only once ``read`` has returned b"".
    """

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._file = file
        self._head = file.read(len(MAGIC) + _SALT)
        if not self._head.startswith(MAGIC) or len(self._head) < len(MAGIC) + _SALT:
            raise BackupUnreadable("This is no backup of the portal.")
        self._cipher = _cipher(passphrase, self._head[len(MAGIC) :])
        self._next = file.read(_CHUNK + _TAG)
        self._ready = b""
        self._number = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            self._ready += self._read_chunk()
        taken = len(self._ready) if size < 0 else size
        data, self._ready = self._ready[:taken], self._ready[taken:]
        return data

    def _read_chunk(self) -> bytes:
        chunk, self._next = self._next, self._file.read(_CHUNK + _TAG)
        self._ended = not self._next
        try:
            plain = self._cipher.decrypt(_nonce(self._number, last=self._ended), chunk, self._head)
        except InvalidTag as error:
            raise BackupUnreadable(
                "The backup cannot be decrypted: the passphrase is another, or the file is damaged."
            ) from error
        self._number += 1
        return plain


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode()))


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
