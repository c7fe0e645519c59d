"""Signed addresses that storages send notifications to: one of each connection, until it is made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core import signing
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from speechportal.storage.models import Connection

SALT = "speechportal.storage.notification_links"


def token_of(connection: Connection) -> str:
    """The signed part of the address."""
    return signing.Signer(salt=SALT).signature(f"{connection.uid}:{connection.notification_nonce}")


def is_valid(connection: Connection, token: str) -> bool:
    return constant_time_compare(token, token_of(connection))


def address(connection: Connection) -> str:
    """Where the storage's service is to send notifications."""
    return f"{str(settings.PUBLIC_URL).rstrip('/')}/notify/{connection.uid}/{token_of(connection)}/"
