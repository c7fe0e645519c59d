"""File format: what a format's module declares about itself for the registry (see :mod:`batches.formats`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batches.recognition.transcript import Transcript

from .context import Context
from .forbidden import without_forbidden
from .lines import as_corrected


def gettext_noop(text: str) -> str:
    """Mark a label for translation; the pages translate it. Django's own function would import Django."""
    return text


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        name: The stable name in settings, the API, the command line and addresses (``[a-z]+``).
        label: The English name for people, marked with :func:`gettext_noop`; pages translate it.
        media_type: IANA's, where it has one; SubRip, SAMI and ASS are not registered.
        renderer: Makes the document of a transcript: text, or bytes for a binary format.
        extension: With its dot; ``.`` and the name unless given.
        binary: Whether the document is bytes that no terminal can show.
    """

    name: str
    label: str
    media_type: str
    renderer: Callable[[Transcript, Context], str | bytes]
    extension: str = ""
    binary: bool = False

    def __post_init__(self) -> None:
        if not self.extension:
            object.__setattr__(self, "extension", f".{self.name}")

    @property
    def content_type(self) -> str:
        """The HTTP ``Content-Type``; text names its encoding, since browsers guess it wrong."""
        return self.media_type if self.binary else f"{self.media_type}; charset=utf-8"

    def render(self, transcript: Transcript, context: Context) -> bytes:
        """The document's bytes, as corrected, without forbidden words. Equal input gives equal bytes."""
        document = self.renderer(*without_forbidden(*as_corrected(transcript, context)))
        return document if isinstance(document, bytes) else document.encode()
