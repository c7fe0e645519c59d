"""Local folders: which folders of this machine a connection may use."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath

from django.conf import settings

from speechportal.storage import keys
from speechportal.storage.backends.confined import Root
from speechportal.storage.errors import ForbiddenFolder

MOST_NAME_BYTES = 255  # limit of file systems for one name
ACCOUNT_PREFIX = "acc_"  # Folders with this prefix directly below a root belong to the account of that ID.


class AbsolutePath(ValueError):
    """A member's path is absolute and does not lie in the account's own folder."""


def allowed_root(folder: str | Path, account_uid: str) -> Root:
    """Return ``folder`` with the operator's root that contains it, or raise :class:`ForbiddenFolder`.

    A root itself is forbidden, and so is the folder of another account.
    """
    wanted = Path(folder)
    if not wanted.is_absolute():
        raise ForbiddenFolder(str(folder))
    try:
        resolved = wanted.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # NUL, or a loop of symbolic links.
        raise ForbiddenFolder(str(folder)) from error
    if any(len(os.fsencode(part)) > MOST_NAME_BYTES for part in resolved.parts):
        raise ForbiddenFolder(str(folder), answer=os.strerror(errno.ENAMETOOLONG))
    for root in settings.STORAGE_LOCAL_ROOTS:
        within = Path(root).resolve()
        if resolved != within and resolved.is_relative_to(within):
            path = resolved.relative_to(within)
            if path.parts[0].startswith(ACCOUNT_PREFIX) and path.parts[0] != account_uid:
                break
            return Root(within, f"{path.as_posix()}/")
    raise ForbiddenFolder(str(folder))


def member_root(account_uid: str) -> Path | None:
    """Folder below which an account's members may choose folders; ``None`` if the operator allows none."""
    roots = settings.STORAGE_LOCAL_ROOTS
    return Path(roots[0]).resolve() / account_uid if roots else None


def member_folder(account_uid: str, path: str) -> Path:
    """Resolve a member's ``path`` to a folder. An absolute path must lie below the account's own folder.

    Raises :class:`ForbiddenFolder`, :class:`AbsolutePath`, ``InvalidKey``.
    """
    root = member_root(account_uid)
    if root is None:
        raise ForbiddenFolder(path)
    path = path.strip().removeprefix(f"{root}/")
    if path.startswith("/") or keys.is_address(path):
        raise AbsolutePath(path)
    return root / keys.check_folder(keys.as_folder(path))


def overlap(one: str, other: str) -> bool:
    """Whether one of two folders contains the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
