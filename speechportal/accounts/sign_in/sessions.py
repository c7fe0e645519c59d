"""Session store that records the user, so that users can list and end their sessions.

Django's own table has only a key and signed data. This one adds columns in the documented way (Django,
"Extending database-backed session engines"): a session is listed by its user and ended by deleting its row.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from speechportal.platform.http import client_address

NOTED_EVERY = timedelta(minutes=5)
# Tokens of user agents, of which the first match counts: most user agents also contain Chrome and Safari.
BROWSERS = {
    "Whale/": "Whale",
    "SamsungBrowser/": "Samsung Internet",
    "Edg/": "Edge",
    "EdgA/": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "FxiOS/": "Firefox",
    "Chrome/": "Chrome",
    "CriOS/": "Chrome",
    "Safari/": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


class MemberSession(AbstractBaseSession):
    """Session of a browser; without ``user`` it is not signed in."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="sessions"
    )
    created_at = models.DateTimeField(_("since"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), null=True)
    address = models.GenericIPAddressField(_("from"), null=True)
    browser = models.CharField(_("browser"), max_length=60, blank=True)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self) -> str:
        return self.browser or self.handle

    @property
    def handle(self) -> str:
        """Public identifier for pages; the session key is a secret."""
        return hashlib.sha256(f"session:{self.session_key}".encode()).hexdigest()[:24]

    @classmethod
    def get_session_store_class(cls) -> type[SessionStore]:
        return SessionStore


class SessionStore(DatabaseStore):
    """Django's database session store, on :class:`MemberSession`."""

    row: MemberSession | None = None  # as loaded

    @classmethod
    def get_model_class(cls) -> type[MemberSession]:
        return MemberSession

    def _get_session_from_db(self) -> MemberSession | None:
        self.row = super()._get_session_from_db()  # type: ignore[misc] # missing in the stubs
        return self.row

    def create_model_instance(self, data: dict[str, Any]) -> MemberSession:
        made = super().create_model_instance(data)
        assert isinstance(made, MemberSession)  # noqa: S101 - see get_model_class
        made.user_id = int(data[USER_KEY]) if data.get(USER_KEY) else None
        # A new key for the same sign-in keeps the data of the old row.
        if self.row is not None and self.row.user_id == made.user_id:
            for name in ("created_at", "seen_at", "address", "browser"):
                setattr(made, name, getattr(self.row, name))
        return made


def note(request: HttpRequest) -> None:
    """Store time, address and browser of the session's latest use, every few minutes.

    By an update, since saving the session would undo concurrent changes by another request.
    """
    row: MemberSession | None = getattr(request.session, "row", None)
    if row is None:
        return
    now, address, browser = timezone.now(), _address(request), _browser(request)
    fresh = row.seen_at is not None and now - row.seen_at < NOTED_EVERY
    if fresh and (row.address, row.browser) == (address, browser):
        return
    row.seen_at, row.address, row.browser = now, address, browser
    MemberSession.objects.filter(pk=row.pk).update(seen_at=now, address=address, browser=browser)


def of_user(user_id: int) -> list[MemberSession]:
    """Sessions of a user, the most recently used first."""
    open_ones = MemberSession.objects.filter(user=user_id, expire_date__gt=timezone.now())
    return sorted(
        open_ones.defer("session_data"), key=lambda row: row.seen_at or row.created_at, reverse=True
    )


def end(user_id: int, *, handle: str = "", but: str | None = None) -> int:
    """End a user's session by its handle, or all except the one with the key ``but``; returns how many."""
    keys = [row.pk for row in of_user(user_id) if row.pk != but and handle in ("", row.handle)]
    MemberSession.objects.filter(pk__in=keys).delete()
    return len(keys)


def _address(request: HttpRequest) -> str | None:
    try:
        return str(ipaddress.ip_address(client_address(request)))
    except ValueError:  # A socket of this machine.
        return None


def _browser(request: HttpRequest) -> str:
    """Browser and system, such as ``Firefox · Windows``; the rest of the user agent is not stored."""
    agent = request.headers.get("User-Agent", "")
    names = (
        next((name for sign, name in table.items() if sign in agent), "") for table in (BROWSERS, SYSTEMS)
    )
    return " · ".join(filter(None, names))
