"""Object names: keys for files written to a customer's storage that never overwrite an existing object."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from django.db import IntegrityError, transaction

KEY_BYTES = 1024  # longest key that S3 allows, in UTF-8
SUFFIX_BYTES = 30  # longest suffix that counts as a file extension


def numbered(name: str, number: int) -> str:
    """Add a number to a file name: ``a/call.mp3`` becomes ``a/call (2).mp3``; number 1 adds nothing."""
    if number == 1:
        return name
    path = PurePosixPath(name)
    folder = name[: len(name) - len(path.name)]
    return f"{folder}{path.stem} ({number}){path.suffix}"


def fitted(folder: str, name: str, ending: str = "", *, part_bytes: int = KEY_BYTES, spare: int = 0) -> str:
    """Join ``folder + name + ending`` to a key; a name that is too long is cut and gets a digest.

    Each part between slashes has at most ``part_bytes`` bytes; ``spare`` bytes of the key stay unused.
    """
    key = f"{folder}{name}{ending}"
    if _fits(key, part_bytes, spare):
        return key
    path = PurePosixPath(name)
    suffix = path.suffix if len(path.suffix.encode()) <= SUFFIX_BYTES else ""
    fixed = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}{suffix}{ending}"
    above = name.removesuffix(path.name)
    if len(f"{folder}{above}{fixed}".encode()) + spare >= KEY_BYTES:
        above = ""
    room = min(KEY_BYTES - len(f"{folder}{above}".encode()), part_bytes) - len(fixed.encode()) - spare
    stem = path.name.removesuffix(suffix).encode()[: max(room, 1)].decode(errors="ignore")
    return f"{folder}{above}{stem}{fixed}"


def _fits(key: str, part_bytes: int, spare: int) -> bool:
    data = key.encode()
    return len(data) + spare <= KEY_BYTES and len(data.rpartition(b"/")[2]) + spare <= part_bytes


def candidates(
    folder: str, name: str, ending: str = "", *, part_bytes: int = KEY_BYTES, spare: int = 0
) -> Iterator[str]:
    return (
        fitted(folder, numbered(name, number), ending, part_bytes=part_bytes, spare=spare)
        for number in itertools.count(1)
    )


def reserve(keys: Iterator[str], is_taken: Callable[[str], bool], save: Callable[[str], None]) -> str:
    """Reserve the first free key: it is saved before anything is written under it.

    ``is_taken`` checks the storage; ``save`` stores the key in its row and raises ``IntegrityError`` if
    another row has it.
    """
    for key in keys:
        if is_taken(key):
            continue
        try:
            with transaction.atomic():
                save(key)
        except IntegrityError:
            continue
        return key
    raise AssertionError("candidates are endless")  # pragma: no cover
