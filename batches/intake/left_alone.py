"""Skipped files: files and folders that a poll ignored, grouped by reason, with counts and example names.

No file is ignored silently: each batch stores the skipped files of its latest poll, and its page, the API and
the support pages show them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from batches.models import Batch
from speechportal.storage.keys import printable

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise

NAMES_KEPT = 5

NAME, ENDING, CONTENT = "name", "ending", "content"
HOUSEKEEPING, UNREADABLE, PROCESSED = "housekeeping", "unreadable", "processed"
REASONS: dict[str, tuple[_StrOrPromise, _StrOrPromise]] = {
    NAME: (
        _("Names that cannot be used"),
        _(
            "A name is UTF-8 of at most 1,024 bytes and 50 folders, with no empty part, “.” or “..” between"
            " slashes. Rename it, and it is taken."
        ),
    ),
    UNREADABLE: (
        _("Folders that cannot be read"),
        _("The storage refuses to list them. Give the portal the right to read them, or move their files."),
    ),
    PROCESSED: (
        _("Finished inputs of this batch that something else has moved"),
        _(
            "Probably another installation of the portal watches the same path and takes what this one has"
            " finished. Let one alone watch it: pause or delete the batch in the other."
        ),
    ),
    ENDING: (
        _("Endings that are not those of media files"),
        _("If one is a recording, rename it with its proper ending, or without any."),
    ),
    CONTENT: (
        _("Files without an ending that are no media files"),
        _("Their first bytes are those of no kind of recording that is known. If one is, give it an ending."),
    ),
    HOUSEKEEPING: (
        _("Hidden files, bins and other housekeeping"),
        _("Names that begin with a dot or “~$”, and folders such as #recycle and __MACOSX."),
    ),
}

# System folders, in lower case.
HOUSEKEEPING_FOLDERS = frozenset(
    [
        *("#recycle", "$recycle.bin", "recycler", "__macosx", "@eadir", "#snapshot", "lost+found"),
        *("system volume information", "@tmp", "@recycle"),
    ]
)
HOUSEKEEPING_FILES = frozenset(["thumbs.db", "desktop.ini"])


def is_housekeeping(path: str) -> bool:
    """Whether the last part of a key or folder path is the name of a system file or folder."""
    name = path.rstrip("/").rpartition("/")[2].lower()
    if name.startswith((".", "~$")):
        return True
    return name in (HOUSEKEEPING_FOLDERS if path.endswith("/") else HOUSEKEEPING_FILES)


def is_housekeeping_below(path: str) -> bool:
    """Whether any part of a key is the name of a system file or folder."""
    folders = path.split("/")[:-1]
    return is_housekeeping(path) or any(is_housekeeping(f"{folder}/") for folder in folders)


@dataclass(frozen=True)
class Group:
    """Files and folders that were skipped for one reason."""

    reason: str
    count: int
    names: tuple[str, ...]

    @property
    def title(self) -> _StrOrPromise:
        return REASONS[self.reason][0]

    @property
    def advice(self) -> _StrOrPromise:
        return REASONS[self.reason][1]

    @property
    def has_more(self) -> bool:
        return self.count > len(self.names)


class LeftAlone:
    """Collector of the files and folders that one poll skips."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}

    def add(self, reason: str, name: str) -> None:
        self._counts[reason] = self._counts.get(reason, 0) + 1
        names = self._names.setdefault(reason, [])
        if len(names) < NAMES_KEPT:
            names.append(printable(name))

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"reason": reason, "count": self._counts[reason], "names": self._names[reason]}
            for reason in REASONS
            if reason in self._counts
        ]

    def note(self, batch: Batch) -> None:
        """Store the result with the batch, if it differs from that of the previous poll."""
        found = self.to_json()
        if found != batch.left_alone:
            Batch.unscoped.filter(pk=batch.pk).update(left_alone=found)


def groups(batch: Batch) -> list[Group]:
    """Skipped files of a batch's latest poll, by reason."""
    known: Iterable[dict[str, Any]] = (each for each in batch.left_alone if each["reason"] in REASONS)
    return [Group(each["reason"], each["count"], tuple(each["names"])) for each in known]
