"""Signatures of Standard Webhooks (https://www.standardwebhooks.com, specification 1.0.0), symmetric scheme.

The signed text is ``<webhook-id>.<webhook-timestamp>.<body>``; a signature is ``v1,`` and the Base64 of its
HMAC-SHA256; a secret is ``whsec_`` and the Base64 of the key. While a secret is being replaced a message has
a signature for each, separated by spaces, so that receivers verify it with either.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
KEY_BYTES = 32  # The specification requires 24 to 64.


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """Decode the key of a secret. Raises ValueError, with a message that does not repeat the secret."""
    if not secret.startswith(PREFIX):
        raise ValueError("A webhook secret begins with whsec_.")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("A webhook secret is Base64 after whsec_.") from error
    if not 24 <= len(key) <= 64:
        raise ValueError("A webhook secret has 24 to 64 bytes.")
    return key


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a message: ``v1,<Base64>``. ``timestamp`` is in seconds since 1970."""
    signed = b".".join([message_id.encode("ascii"), b"%d" % timestamp, body])
    digest = hmac.new(key_of(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def headers(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers of a message, signed with each of ``secrets``."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }
