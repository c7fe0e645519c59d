"""Signed URLs to which storages send notifications: one per connection, valid until it is renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core import signing
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from speechportal.storage.models import Connection

SALT = "speechportal.storage.notification_links"


def token_of(connection: Connection) -> str:
    """Signed token in the URL."""
    return signing.Signer(salt=SALT).signature(f"{connection.uid}:{connection.notification_nonce}")


def is_valid(connection: Connection, token: str) -> bool:
    return constant_time_compare(token, token_of(connection))


def address(connection: Connection) -> str:
    """URL to which the storage sends notifications."""
    return f"{str(settings.PUBLIC_URL).rstrip('/')}/notify/{connection.uid}/{token_of(connection)}/"
