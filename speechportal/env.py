"""Typed settings from environment variables.

Every setting ``NAME`` is read from ``SPEECHPORTAL_NAME``, or, so that secrets can be mounted as files, from
the file that ``SPEECHPORTAL_NAME_FILE`` names. An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

PREFIX = "SPEECHPORTAL_"
# Variables of the command-line client, which may be set beside the portal's own.
OTHERS = frozenset(f"{PREFIX}{name}" for name in ("URL", "TOKEN", "TOKEN_FILE"))
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
Shown = str | Promise | None  # A default as the settings reference shows it; None: the value itself.
TRUE_IN_PRODUCTION = _("`true` in production, else `false`")
FALSE_IN_PRODUCTION = _("`false` in production, else `true`")

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


@dataclass(frozen=True)
class Variable:
    """A setting as the settings reference lists it (help page "settings").

    ``shown_default`` is written for people: a value, or a sentence where the value depends on the machine.
    """

    name: str  # Without PREFIX.
    kind: str
    shown_default: str | Promise
    required: bool  # In production.
    description: str | Promise
    section: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None

    @property
    def variable(self) -> str:
        return PREFIX + self.name


class Env:
    """Reads one environment, and keeps a :class:`Variable` for each variable that it was asked for.

    All readers take ``description`` (one sentence for the settings reference), ``shown`` (the default as the
    reference shows it, where the value itself would mislead) and, except for flags and numbers, ``required``
    (the variable must be set in production).
    """

    def __init__(self, environ: Mapping[str, str] | None = None, *, production: bool = False) -> None:
        self.environ = os.environ if environ is None else environ
        self.production = production
        self.section = ""
        self.settings: dict[str, Variable] = {}

    @property
    def names(self) -> list[str]:
        return list(self.settings)

    def unknown(self) -> list[tuple[str, str]]:
        """Variables with the prefix that no setting reads, each with the nearest that one does, or nothing.

        Call it once all settings are read.
        """
        known = {f"{PREFIX}{name}{suffix}" for name in self.settings for suffix in ("", "_FILE")}
        given = sorted(
            name for name in self.environ if name.startswith(PREFIX) and name not in known | OTHERS
        )
        return [(name, next(iter(difflib.get_close_matches(name, known, 1, 0.75)), "")) for name in given]

    def text(
        self,
        name: str,
        default: str = "",
        *,
        required: bool = False,
        shown: Shown = None,
        description: str | Promise = "",
    ) -> str:
        self._register(name, "text", default if shown is None else shown, description, required=required)
        return self._read(name) or self._default(name, default, required=required)

    def flag(
        self,
        name: str,
        *,
        default: bool,
        shown: Shown = None,
        description: str | Promise = "",
    ) -> bool:
        self._register(name, "flag", str(default).lower() if shown is None else shown, description)
        value = self._read(name).lower()
        if not value:
            return default
        if value in TRUE or value in FALSE:
            return value in TRUE
        raise ImproperlyConfigured(f"{PREFIX}{name} must be true or false, not {value!r}.")

    def integer(
        self,
        name: str,
        default: int,
        *,
        minimum: int | None = None,
        shown: Shown = None,
        description: str | Promise = "",
    ) -> int:
        self._register(
            name, "integer", str(default) if shown is None else shown, description, minimum=minimum
        )
        value = self._read(name)
        try:
            number = int(value) if value else default
        except ValueError as error:
            raise ImproperlyConfigured(f"{PREFIX}{name} must be a whole number, not {value!r}.") from error
        if minimum is not None and number < minimum:
            raise ImproperlyConfigured(f"{PREFIX}{name} must be at least {minimum}, not {number}.")
        return number

    def words(
        self,
        name: str,
        default: str = "",
        *,
        required: bool = False,
        shown: Shown = None,
        description: str | Promise = "",
    ) -> list[str]:
        """A comma-separated list."""
        self._register(name, "words", default if shown is None else shown, description, required=required)
        words = _split(self._read(name))
        return words or _split(self._default(name, default, required=required))

    def networks(self, name: str, *, description: str | Promise = "") -> list[str]:
        """A comma-separated list of networks such as ``10.1.0.0/16``; an address is a network of one."""
        self._register(name, "networks", "", description)
        words = _split(self._read(name))
        for word in words:
            try:
                ipaddress.ip_network(word)
            except ValueError as error:
                raise ImproperlyConfigured(f"{PREFIX}{name}: {error}.") from error
        return words

    def ports(self, name: str, default: str, *, description: str | Promise = "") -> list[int]:
        """A comma-separated list of ports; empty for ``any``."""
        self._register(name, "ports", default, description)
        words = _split(self._read(name) or default)
        if words == ["any"]:
            return []
        if any(not word.isdecimal() or not 0 < int(word) < 65536 for word in words):
            raise ImproperlyConfigured(f"{PREFIX}{name} must be ports such as 80,443, or any, not {words}.")
        return [int(word) for word in words]

    def path(self, name: str, default: Path, *, shown: Shown = None, description: str | Promise = "") -> Path:
        self._register(name, "path", str(default) if shown is None else shown, description)
        value = self._read(name)
        return Path(value).expanduser().resolve() if value else default

    def choice(
        self, name: str, default: str, choices: tuple[str, ...], *, description: str | Promise = ""
    ) -> str:
        self._register(name, "choice", default, description, choices=choices)
        value = self._read(name) or default
        if value not in choices:
            raise ImproperlyConfigured(f"{PREFIX}{name} must be one of {', '.join(choices)}, not {value!r}.")
        return value

    def _register(
        self,
        name: str,
        kind: str,
        shown_default: str | Promise,
        description: str | Promise,
        *,
        required: bool = False,
        choices: tuple[str, ...] = (),
        minimum: int | None = None,
    ) -> None:
        self.settings.setdefault(
            name,
            Variable(name, kind, shown_default, required, description, self.section, choices, minimum),
        )

    def _default(self, name: str, default: str, *, required: bool) -> str:
        if required and self.production:
            raise ImproperlyConfigured(f"Set {PREFIX}{name} (or {PREFIX}{name}_FILE).")
        return default

    def _read(self, name: str) -> str:
        """The variable's value, or the content of the file that its ``_FILE`` variable names."""
        variable = PREFIX + name
        value = self.environ.get(variable, "")
        file = self.environ.get(f"{variable}_FILE", "")
        if value and file:
            raise ImproperlyConfigured(f"{variable} and {variable}_FILE are both set: keep one of them.")
        if file:
            try:
                value = Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ImproperlyConfigured(f"{variable}_FILE cannot be read: {error.strerror}.") from error
        return value


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def database(url: str) -> dict[str, object]:
    """Django's database settings from ``sqlite:///PATH`` or ``postgresql://USER:PASSWORD@HOST:PORT/NAME?OPTIONS``.

    PostgreSQL's query options go to libpq (``sslmode``, ``host`` for a socket folder, ...). Both ends notice
    within half a minute that the other is gone: a machine that loses its network in the middle of a
    transaction must not keep its locks.
    """
    parts = _split_url(url)
    if parts.scheme == "sqlite":
        file = Path(unquote(parts.path[1:]))
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
        options = {**LOST_SERVER, "options": LOST_CLIENT, **dict(parse_qsl(parts.query))}
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
    if parts.scheme in {"postgres", "postgresql"} and parts.fragment:
        raise ImproperlyConfigured(f"{PREFIX}DATABASE_URL has a # in it: in a password it is written as %23.")
    if port == 0:
        raise ImproperlyConfigured(f"{PREFIX}DATABASE_URL names the port 0.")
    return parts


def redis(url: str) -> str:
    """Add time-outs for a Redis that does not answer to its URL, unless the URL has its own."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss"}:  # A socket of this machine.
        return url
    return urlunsplit(parts._replace(query=urlencode({**LOST_REDIS, **dict(parse_qsl(parts.query))})))


def stored_secret(path: Path, new_value: str) -> str:
    """Read the secret stored in ``path``; the first caller stores ``new_value`` there, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(new_value)
        try:
            os.link(draft, path)  # Fails when another process was first: then its secret counts.
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
