"""Authenticator codes (TOTP) for tests."""

from __future__ import annotations

import time

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from speechportal.accounts.models import AuthenticatorApp


def authenticator(secret: bytes, digits: int) -> TOTP:
    return TOTP(secret, digits, SHA1(), 30)  # noqa: S303 - what RFC 6238 and the apps use


def code(app: AuthenticatorApp, steps: int = 0) -> str:
    return authenticator(app.secret, 6).generate(int(time.time()) + 30 * steps).decode()


def wrong(app: AuthenticatorApp) -> str:
    """Six digits that are no code of these minutes."""
    near = {code(app, steps) for steps in range(-3, 4)}
    return next(
        each
        for each in ("000000", "111111", "222222", "333333", "444444", "555555", "666666", "777777")
        if each not in near
    )
