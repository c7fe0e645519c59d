"""Defaults of fields that migrations refer to. Functions here are never renamed or removed."""

from __future__ import annotations

import secrets


def notification_nonce() -> str:
    return secrets.token_hex(8)
