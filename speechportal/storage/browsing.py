"""Folder browser: lists one level of a storage at a time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from speechportal.storage import keys
from speechportal.storage.backends.base import Folder, StoredFile
from speechportal.storage.errors import InvalidKey
from speechportal.storage.models import Connection

MOST = 500  # Entries that are listed of a level; paths beyond it can be typed.


@dataclass(frozen=True)
class Level:
    """Entries directly in the folder ``path`` (``""`` or with a slash at its end)."""

    path: str
    folders: list[tuple[str, str]] = field(default_factory=list)  # path, name
    files: list[StoredFile] = field(default_factory=list)
    has_more: bool = False

    @property
    def trail(self) -> list[tuple[str, str]]:
        """Folders from the root to this one: path, name."""
        parts = self.path.rstrip("/").split("/") if self.path else []
        return [(f"{'/'.join(parts[: end + 1])}/", parts[end]) for end in range(len(parts))]

    @property
    def named_files(self) -> list[tuple[StoredFile, str]]:
        return [(file, file.key[len(self.path) :]) for file in self.files]

    @property
    def is_empty(self) -> bool:
        return not self.folders and not self.files


def empty(path: str) -> Level:
    """Level without entries, for a storage that cannot be listed."""
    try:
        return Level(keys.check_folder(keys.as_folder(path)))
    except InvalidKey:
        return Level("")


def look(connection: Connection, path: str) -> Level:
    """List a level. Raises ``StorageError``."""
    prefix = keys.check_folder(keys.as_folder(path))
    entries = list(itertools.islice(connection.store().list_level(prefix), MOST + 1))
    shown = entries[:MOST]
    return Level(
        prefix,
        [(entry.path, entry.path[len(prefix) :].rstrip("/")) for entry in shown if isinstance(entry, Folder)],
        [entry for entry in shown if isinstance(entry, StoredFile)],
        len(entries) > MOST,
    )


def create_folder(connection: Connection, above: str, name: str) -> str:
    """Create a folder in ``above``; returns its path. Raises ``StorageError``, ``ValidationError``."""
    name = name.strip()
    if not name or "/" in name:
        raise ValidationError(_("Enter a name without slashes."))
    path = keys.check_folder(keys.as_folder(f"{keys.as_folder(above)}{name}"))
    connection.store().create_folder(path)
    return path
