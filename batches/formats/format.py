"""`Format`: the declaration of a file format for the registry (see :mod:`batches.formats`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batches.recognition.transcript import Transcript

from .context import Context
from .forbidden import without_forbidden
from .lines import as_corrected


def gettext_noop(text: str) -> str:
    """Mark a label for translation by the pages. Django's own function would import Django."""
    return text


@dataclass(frozen=True)
class Format:
    """File format of transcripts.

    Args:
        name: Stable name in settings, the API, the command line and URLs (``[a-z]+``).
        label: English name for people, marked with :func:`gettext_noop`; pages translate it.
        media_type: IANA's, if it has one; SubRip, SAMI and ASS are not registered.
        renderer: Renders a transcript to text, or to bytes for a binary format.
        extension: File name extension with its dot; by default ``.`` and the name.
        binary: Whether the document is binary, so that a terminal cannot show it.
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
        """HTTP ``Content-Type``; for text with the encoding, which browsers guess wrongly."""
        return self.media_type if self.binary else f"{self.media_type}; charset=utf-8"

    def render(self, transcript: Transcript, context: Context) -> bytes:
        """Render the corrected transcript, without forbidden words. Equal input gives equal bytes."""
        document = self.renderer(*without_forbidden(*as_corrected(transcript, context)))
        return document if isinstance(document, bytes) else document.encode()
