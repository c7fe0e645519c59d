"""DOCX: a Word document, made by :mod:`.docx_document`."""

from __future__ import annotations

from batches.recognition.transcript import Transcript

from .context import Context
from .format import Format, gettext_noop

_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def render(transcript: Transcript, context: Context) -> bytes:
    # The library takes a tenth of a second to import, which most processes need not spend.
    from . import docx_document

    return docx_document.render(transcript, context)


FORMAT = Format("docx", gettext_noop("DOCX (Word document)"), _MEDIA_TYPE, render, binary=True)
