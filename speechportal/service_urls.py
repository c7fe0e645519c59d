"""Settings of the database and of Redis from their URLs."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured

from speechportal.env import PREFIX

# When a PostgreSQL client gives up a server that does not answer (libpq's; seconds, the last in ms).
LOST_SERVER = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# When the server gives up a client that is gone or idle in a transaction, and frees its locks.
LOST_CLIENT = (
    "-c tcp_keepalives_idle=15 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=30000 -c client_connection_check_interval=10000"
    " -c idle_in_transaction_session_timeout=60000"
)
# Redis only carries messages: a process that cannot reach it continues without.
LOST_REDIS = {"socket_connect_timeout": "5", "socket_timeout": "10", "socket_keepalive": "true"}


def database(url: str) -> dict[str, object]:
    """Django's database settings from ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME?OPTIONS``.

    PostgreSQL's query options go to libpq (``sslmode``, ``host`` for a socket folder, ...). Both ends notice
    within half a minute that the other is gone: a machine that loses its network in the middle of a
    transaction must not keep its locks.
    """
    parts = _split_url(url)
    if parts.scheme == "sqlite":
        file = Path(unquote(parts.path[1:]))
        if not file.is_absolute():
            raise ImproperlyConfigured(
                f"{PREFIX}DATABASE_URL names the relative path {str(file)!r}, another database in each"
                f" working folder. An absolute path has four slashes: sqlite:////{file}"
            )
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(file),
            # A file, as in use: threads and processes of a test share it.
            "TEST": {"NAME": str(file.with_name(f"test-{file.name}"))},
            "OPTIONS": {
                # Writers queue at BEGIN instead of failing in the middle of a transaction.
                "transaction_mode": "IMMEDIATE",
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    if parts.scheme in {"postgres", "postgresql"}:
        # As libpq reads it, which it does not where the settings name options too.
        asked = f"{LOST_CLIENT} {os.environ.get('PGOPTIONS', '')}".strip()
        options = {**LOST_SERVER, "options": asked, **dict(parse_qsl(parts.query))}
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(parts.path[1:]),
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": options.pop("host", parts.hostname or ""),
            "PORT": options.pop("port", str(parts.port or "")),
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": options,
        }
    raise ImproperlyConfigured(
        f"{PREFIX}DATABASE_URL starts with {parts.scheme!r}; use sqlite:///PATH or postgresql://..."
    )


def _split_url(url: str) -> SplitResult:
    """The parts of a database's address. Raises ImproperlyConfigured, without the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{PREFIX}DATABASE_URL cannot be read: characters such as @ : / # ? in user and password are"
            " written as %40 %3A %2F %23 %3F, and a port is a number."
        ) from error
    if parts.scheme in {"postgres", "postgresql"} and "@" in parts.path:  # The password has a slash.
        raise ImproperlyConfigured(
            f"{PREFIX}DATABASE_URL has an @ in the database's name: in a password, / is written as %2F and"
            " @ as %40."
        )
    if parts.scheme in {"postgres", "postgresql"} and parts.fragment:
        raise ImproperlyConfigured(f"{PREFIX}DATABASE_URL has a # in it: in a password it is written as %23.")
    if port == 0:
        raise ImproperlyConfigured(f"{PREFIX}DATABASE_URL names the port 0.")
    return parts


def redis(url: str) -> str:
    """Add time-outs for a Redis that does not answer to its URL, unless the URL has its own.

    Raises ImproperlyConfigured, without the password.
    """
    parts = urlsplit(url)
    try:
        known = parts.scheme in {"redis", "rediss", "unix"} and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise ImproperlyConfigured(
            f"{PREFIX}REDIS_URL must be redis://HOST:PORT/0, rediss://HOST:PORT/0 or unix://PATH."
        )
    if parts.scheme not in {"redis", "rediss"}:  # A socket of this machine.
        return url
    return urlunsplit(parts._replace(query=urlencode({**LOST_REDIS, **dict(parse_qsl(parts.query))})))
