"""Local folders: which folders of this machine a connection may use."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath

from django.conf import settings

from speechportal.storage import keys
from speechportal.storage.backends.confined import Root
from speechportal.storage.errors import ForbiddenFolder

MOST_NAME_BYTES = 255  # that a file system takes in one name
ACCOUNT_PREFIX = "acc_"  # Folders directly below a root that begin so belong to that account.


def allowed_root(folder: str | Path, account_uid: str) -> Root:
    """``folder`` below the operator's root that it lies under, or :class:`ForbiddenFolder`.

    A root itself is no account's, nor is what lies in the folder of another account.
    """
    wanted = Path(folder)
    if not wanted.is_absolute():
        raise ForbiddenFolder(str(folder))
    try:
        resolved = wanted.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # NUL, or links in a circle.
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
    """Resolve a member's ``path`` to a folder. Raises :class:`ForbiddenFolder`, ``InvalidKey``."""
    root = member_root(account_uid)
    if root is None:
        raise ForbiddenFolder(path)
    return root / keys.check_folder(keys.as_folder(path))


def overlap(one: str, other: str) -> bool:
    """Whether one of two folders contains the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
