"""Recent password confirmation: whether the password was entered in this session within the last minutes.

Sensitive data, such as the secret of an authenticator app, is shown only then, so that an unlocked browser or
a stolen session is not enough.
"""

from __future__ import annotations

import time

from django.http import HttpRequest

SESSION_KEY = "password_at"
SECONDS = 300


def note(request: HttpRequest) -> None:
    """Record that the password was just entered correctly."""
    request.session[SESSION_KEY] = int(time.time())


def is_fresh(request: HttpRequest) -> bool:
    return time.time() - int(request.session.get(SESSION_KEY, 0)) < SECONDS
