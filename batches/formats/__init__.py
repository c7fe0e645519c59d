"""File formats: a transcript as a document (JSON, subtitles, text). No Django, no files, no network.

To add a format, write a module that declares ``FORMAT`` (a :class:`Format`) and list it in ``FORMATS``.
Forms, the API and its OpenAPI document, the command lines, downloads, the CLOVA endpoints and the help pages
read the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from batches.recognition.transcript import Transcript

from . import ass, clova_json, docx, plain_text, sami, srt, tsv, webvtt
from .context import Context
from .format import Format

__all__ = ["FORMATS", "Context", "Format", "render"]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        module.FORMAT.name: module.FORMAT
        for module in (
            clova_json,
            srt,
            sami,
            webvtt,
            plain_text,
            tsv,
            ass,
            docx,
        )
    }
)


def render(name: str, transcript: Transcript, context: Context | None = None) -> bytes:
    """Render the transcript in the format ``name``; every transcript gives a valid document.

    Raises KeyError for a name that is not in ``FORMATS``.
    """
    return FORMATS[name].render(transcript, context or Context())
