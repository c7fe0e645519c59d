"""Multipart uploads by pre-signed URLs: large files that a browser or program sends in parts.

The client performs every step itself, each with a URL that is signed for that step alone. No byte of the file
passes through the portal, and a broken connection costs one part.
"""

from __future__ import annotations

import abc
from typing import Literal

MultipartStep = Literal["create", "part", "list", "complete", "abort"]


class MultipartUploads(abc.ABC):
    """Mixin for stores that support the steps of S3's multipart upload."""

    @abc.abstractmethod
    def presign_multipart(
        self, key: str, step: MultipartStep, *, expires: int, upload_id: str = "", part_number: int = 0
    ) -> str:
        """Pre-signed URL for one ``step`` of the upload of ``key``, valid for ``expires`` seconds.

        The response to ``create`` contains the upload's ID, which every other step needs; ``part`` also needs
        the part's number, from 1. Raises :class:`~speechportal.storage.errors.InvalidKey` for an invalid key.
        """
