"""Pre-signed URLs of files in local folders, the counterpart of S3's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urljoin

from django.conf import settings
from django.core import signing
from django.urls import reverse

from speechportal.storage.backends.base import Method

SALT = "speechportal.storage.local_file_links"
MAX_SECONDS = 7 * 24 * 3600  # As long as S3 allows.


@dataclass(frozen=True)
class Link:
    """Signed content of a pre-signed URL: the access that it grants until it expires."""

    connection: str  # uid
    key: str
    method: Method
    filename: str | None


def make(connection: str, key: str, seconds: int, method: Method, filename: str | None) -> str:
    """Make a pre-signed URL (absolute)."""
    expires = int(time.time()) + min(seconds, MAX_SECONDS)
    token = signing.dumps([connection, key, method, filename, expires], salt=SALT)
    return urljoin(settings.PUBLIC_URL, reverse("local_file", args=[token]))


def read(token: str) -> Link | None:
    """Verify the token of a pre-signed URL; ``None`` if it was changed or has expired."""
    try:
        connection, key, method, filename, expires = signing.loads(token, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return Link(connection, key, method, filename) if time.time() < expires else None
