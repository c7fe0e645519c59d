"""Multipart uploads by presigned addresses: large files that a browser or program sends in parts.

The sender performs every step itself, each by an address that is signed for that step alone, so that no
byte of the file passes through the portal and a broken connection costs one part.
"""

from __future__ import annotations

import abc
from typing import Literal

MultipartStep = Literal["create", "part", "list", "complete", "abort"]


class MultipartUploads(abc.ABC):
    """A storage that takes a file in parts, by the steps of S3's multipart upload."""

    @abc.abstractmethod
    def presign_multipart(
        self, key: str, step: MultipartStep, *, expires: int, upload_id: str = "", part_number: int = 0
    ) -> str:
        """An address that performs one ``step`` of the upload of ``key`` for ``expires`` seconds.

        ``create`` answers with the upload's ID, which every other step needs; ``part`` also needs the part's
        number, from 1. Raises :class:`~speechportal.storage.errors.InvalidKey` for a key that is not sound.
        """
