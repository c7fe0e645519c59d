"""Keys: names of files, relative to a connection's root.

A key is Unicode, kept exactly as it is (composed and decomposed Hangul are different keys), with ``/``
between its parts. Names that some backend would interpret are refused: empty parts, ``.`` and ``..``, a
leading slash, NUL. A folder is ``""`` (the root) or parts that each end with a slash.
"""

from __future__ import annotations

import re

from speechportal.storage.errors import InvalidKey

MAX_BYTES = 1024  # In UTF-8; S3's limit.
# Schemes of storages and files, drives and shares of Windows, and home folders.
ADDRESS = re.compile(
    r"(s3[an]?|gs|gcs|az|azure|abfss?|wasbs?|https?|s?ftp|scp|file|smb|nfs):/|[a-z]:[\\/]|\\\\|~(/|\Z)",
    re.IGNORECASE,
)


def check_key(key: str, *, root: str = "") -> str:
    """Return ``root + key``, or raise :class:`InvalidKey`. The limit in bytes includes the root."""
    _check_parts(key, key.split("/"))
    return _fitting(key, root + key)


def check_folder(path: str, *, root: str = "") -> str:
    """Return ``root + path``, or raise :class:`InvalidKey`. ``""`` is the root itself."""
    if path:
        if not path.endswith("/"):
            raise InvalidKey(path)
        _check_parts(path, path[:-1].split("/"))
    return _fitting(path, root + path)


def is_valid_key(key: str) -> bool:
    try:
        check_key(key)
    except InvalidKey:
        return False
    return True


def is_valid_folder(path: str) -> bool:
    try:
        check_folder(path)
    except InvalidKey:
        return False
    return True


def printable(name: str) -> str:
    """Make any name storable in the database: NUL and undecodable bytes are spelt out."""
    return name.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def as_folder(path: str) -> str:
    """Normalise a folder that a person typed; :func:`check_folder` validates it."""
    parts = [part for part in path.strip().split("/") if part]
    return "".join(f"{part}/" for part in parts)


def is_address(path: str) -> bool:
    """Whether a typed or normalised path is an address (``s3://bucket/calls``) or a path of a machine.

    Below a storage's root it would be a folder of that name, which nobody means.
    """
    return ADDRESS.match(path.strip()) is not None


def parent(key: str) -> str:
    """Parent folder of a file or folder."""
    return key[: key.rstrip("/").rfind("/") + 1]


def _check_parts(key: str, parts: list[str]) -> None:
    if "\0" in key or any(part in {"", ".", ".."} for part in parts):
        raise InvalidKey(key)


def _fitting(key: str, full_key: str) -> str:
    try:
        length = len(full_key.encode())
    except UnicodeEncodeError as error:  # A lone surrogate: a file name that is not UTF-8.
        raise InvalidKey(key) from error
    if length > MAX_BYTES:
        raise InvalidKey(key)
    return full_key
