"""Typed settings from environment variables.

Every setting ``NAME`` is read from ``SPEECHPORTAL_NAME``, or, so that secrets can be mounted as files, from
the file that ``SPEECHPORTAL_NAME_FILE`` names. An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from speechportal.setting_forms import Form

PREFIX = "SPEECHPORTAL_"
# Variables of the command-line client, which may be set beside the portal's own.
OTHERS = frozenset(f"{PREFIX}{name}" for name in ("URL", "TOKEN", "TOKEN_FILE"))
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
Shown = str | Promise | None  # A default as the settings reference shows it; None: the value itself.
TRUE_IN_PRODUCTION = _("`true` in production, else `false`")
FALSE_IN_PRODUCTION = _("`false` in production, else `true`")


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
        form: Form | None = None,
        description: str | Promise = "",
    ) -> str:
        """Any text, or one in the given form."""
        self._register(name, "text", default if shown is None else shown, description, required=required)
        value = self._read(name)
        if value and form is not None and not form.pattern.fullmatch(value):
            raise ImproperlyConfigured(f"{PREFIX}{name} must be {form.example}, not {value!r}.")
        return value or self._default(name, default, required=required)

    def time_zone(self, name: str, default: str, *, description: str | Promise = "") -> str:
        """A name of the time zone database, such as Asia/Seoul."""
        self._register(name, "text", default, description)
        value = self._read(name) or default
        if value not in zoneinfo.available_timezones():
            nearest = difflib.get_close_matches(value, zoneinfo.available_timezones(), 1)
            meant = f" Is {nearest[0]} meant?" if nearest else ""
            raise ImproperlyConfigured(
                f"{PREFIX}{name} must be a time zone such as Asia/Seoul, not {value!r}.{meant}"
            )
        return value

    def file(self, name: str, *, shown: Shown = None, description: str | Promise = "") -> str:
        """Path of a file that must be readable; empty if none is given."""
        self._register(name, "text", "" if shown is None else shown, description)
        value = self._read(name)
        try:
            if value:
                Path(value).open("rb").close()
        except OSError as error:
            raise ImproperlyConfigured(
                f"{PREFIX}{name}: {value} cannot be read: {error.strerror}."
            ) from error
        return value

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
        form: Form | None = None,
        description: str | Promise = "",
    ) -> list[str]:
        """A comma-separated list, each word in the given form."""
        self._register(name, "words", default if shown is None else shown, description, required=required)
        words = _split(self._read(name))
        for word in words:
            if form is not None and not form.pattern.fullmatch(word):
                raise ImproperlyConfigured(f"{PREFIX}{name} must be {form.example}, not {word!r}.")
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
        return self._resolved(name, value) if value else default

    def paths(
        self, name: str, default: str, *, shown: Shown = None, description: str | Promise = ""
    ) -> list[Path]:
        """A comma-separated list of paths."""
        return [
            self._resolved(name, path)
            for path in self.words(name, default, shown=shown, description=description)
        ]

    def _resolved(self, name: str, value: str) -> Path:
        path = Path(value).expanduser()
        if self.production and not path.is_absolute():
            raise ImproperlyConfigured(
                f"{PREFIX}{name} must be an absolute path, not {value!r}: that depends on the working folder."
            )
        return path.resolve()

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
            except UnicodeDecodeError as error:
                raise ImproperlyConfigured(f"{variable}_FILE cannot be read: it is no text.") from error
        return value


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


class EmptySecret(Exception):
    """The file of a stored secret is empty."""


def stored_secret(path: Path, new_value: str) -> str:
    """Read the secret stored in ``path``; the first caller stores ``new_value`` there, with mode 0600.

    Raises ImproperlyConfigured where that cannot be.
    """
    try:
        return _stored_secret(path, new_value)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{PREFIX}DATA_DIR: {error.filename or path} cannot be read or written: {error.strerror}. Name a"
            " folder that the portal's user may write to, on a disk that is not full."
        ) from error
    except UnicodeDecodeError as error:
        raise ImproperlyConfigured(
            f"{PREFIX}DATA_DIR: {path} is damaged: restore it from a backup."
        ) from error
    except EmptySecret as error:
        raise ImproperlyConfigured(f"{PREFIX}DATA_DIR: {path} is empty: restore it from a backup.") from error


def _stored_secret(path: Path, new_value: str) -> str:
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
    if not (found := path.read_text(encoding="utf-8").strip()):
        raise EmptySecret
    return found
