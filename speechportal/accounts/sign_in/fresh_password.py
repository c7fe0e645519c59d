"""Whether the password was typed in this session within the last minutes.

What could be used against the person, such as the secret of an authenticator app, is shown only then: an
unlocked browser, or a stolen session, is not enough.
"""

from __future__ import annotations

import time

from django.http import HttpRequest

SESSION_KEY = "password_at"
SECONDS = 300


def note(request: HttpRequest) -> None:
    """The password was right just now."""
    request.session[SESSION_KEY] = int(time.time())


def is_fresh(request: HttpRequest) -> bool:
    return time.time() - int(request.session.get(SESSION_KEY, 0)) < SECONDS
