"""Names for what is written to a customer's storage: never over something that is there."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from django.db import IntegrityError, transaction

KEY_BYTES = 1024  # The longest key that S3 allows, in UTF-8.


def numbered(name: str, number: int) -> str:
    """``a/call.mp3`` as ``a/call (2).mp3``; the first keeps its name."""
    if number == 1:
        return name
    path = PurePosixPath(name)
    folder = name[: len(name) - len(path.name)]
    return f"{folder}{path.stem} ({number}){path.suffix}"


def fitted(folder: str, name: str, ending: str = "") -> str:
    """``folder + name + ending``; a name too long for a key is cut and told apart by a digest."""
    key = f"{folder}{name}{ending}"
    if len(key.encode()) <= KEY_BYTES:
        return key
    digest = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    suffix = PurePosixPath(name).suffix
    room = KEY_BYTES - len(f"{folder}{digest}{suffix}{ending}".encode())
    stem = PurePosixPath(name).name.removesuffix(suffix).encode()[: max(room, 1)].decode(errors="ignore")
    return f"{folder}{stem}{digest}{suffix}{ending}"


def candidates(folder: str, name: str, ending: str = "") -> Iterator[str]:
    return (fitted(folder, numbered(name, number), ending) for number in itertools.count(1))


def reserve(keys: Iterator[str], is_taken: Callable[[str], bool], save: Callable[[str], None]) -> str:
    """The first free key, saved before anything is written under it.

    ``is_taken`` looks into the storage; ``save`` stores the key in its row and fails with
    ``IntegrityError`` where another row holds it.
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
